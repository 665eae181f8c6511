package world

// Shrink looks for a smaller part of a plan that still breaks the same
// promise: it leaves out halves, quarters, … and keeps what still fails.
// fails must run the steps in keep on a world of their own.
func Shrink(keep []int, fails func(keep []int) bool) []int {
	for size := len(keep) / 2; size > 0; {
		shrunk := false
		for at := 0; at+size <= len(keep); {
			rest := append(append([]int{}, keep[:at]...), keep[at+size:]...)
			if fails(rest) {
				keep, shrunk = rest, true
			} else {
				at += size
			}
		}
		if !shrunk || size > len(keep) {
			size /= 2
		}
	}
	return keep
}
