package world

func (w *world) dishonest(s *station, a Action) {}

func (w *world) cloneCard(c *chip) {}
