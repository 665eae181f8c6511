CREATE INDEX log_counter ON log (terminal, epoch, first) WHERE kind IN (7, 8, 9); -- decisions about bills, claims and cards
