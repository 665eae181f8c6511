CREATE INDEX item_doubted ON item (terminal, epoch, seq) WHERE state IN (3, 4, 5, 6) AND flags & 10 = 2 AND kind NOT IN (4, 5); -- of cards
