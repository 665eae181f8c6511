//go:build !linux

package pcsc

// refine gives what the system said: the service is its own.
func refine(err error) (cause error, hint string) {
	_, hint = explain(err, nil)
	return err, hint
}
