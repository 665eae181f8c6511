package powerloss

import "slices"

// content is what a file holds. Pages are never changed in place, so that a
// content is cheap to derive from another and pages are compared by address;
// a page of zeros may be nil.
type content struct {
	pages []*[Page]byte
	size  int64
}

// with gives the content after some changes.
func (c content) with(changes ...change) content {
	c.pages = slices.Clone(c.pages)
	for _, x := range changes {
		if x.data == nil {
			c = c.resized(x.size)
			continue
		}
		if end := x.at + int64(len(x.data)); end > c.size {
			c = c.resized(end)
		}
		for at, rest := x.at, x.data; len(rest) > 0; {
			page := new([Page]byte)
			if old := c.pages[at/Page]; old != nil {
				*page = *old
			}
			n := copy(page[at%Page:], rest)
			if *page == ([Page]byte{}) {
				page = nil
			}
			c.pages[at/Page] = page
			at, rest = at+int64(n), rest[n:]
		}
	}
	return c
}

func (c content) resized(size int64) content {
	pages := make([]*[Page]byte, (size+Page-1)/Page)
	copy(pages, c.pages)
	// What was cut off is zeros when the file grows again.
	if n := size % Page; size < c.size && n != 0 && pages[len(pages)-1] != nil {
		cut := *pages[len(pages)-1]
		clear(cut[n:])
		pages[len(pages)-1] = &cut
	}
	return content{pages, size}
}
