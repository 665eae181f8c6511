package world

import (
	"slices"
	"testing"
)

func TestShrink(t *testing.T) {
	all := make([]int, 60)
	for i := range all {
		all[i] = i
	}
	tries := 0
	got := Shrink(all, func(keep []int) bool {
		tries++
		return slices.Contains(keep, 7) && slices.Contains(keep, 41) && slices.Contains(keep, 42)
	})
	if !slices.Equal(got, []int{7, 41, 42}) || tries > 200 {
		t.Errorf("%v after %d tries", got, tries)
	}
}
