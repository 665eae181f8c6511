package serialreader

import "github.com/dianka/dianka/internal/pty"

// PTY plugs the reader into a pseudo-terminal and gives the path that the
// driver opens.
func (t *Twin) PTY() (device string, err error) {
	d, err := pty.Open()
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	t.speed = func() int {
		n, _ := d.Speed()
		return n
	}
	t.line = d // so that an Unplug before Serve holds
	t.mu.Unlock()
	go t.Serve(d)
	return d.Path, nil
}
