//go:build !linux

package pty
