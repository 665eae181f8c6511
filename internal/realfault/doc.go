// Package realfault holds tests of the built binaries, kioskd and utilityd as
// a shop and a utility run them: killed and failed at every call to the disk,
// their power cut at every moment, killed under load. It contains nothing but
// its tests.
package realfault
