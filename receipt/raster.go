package receipt

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
)

// ErrLogo means that a picture can't be a logo.
var ErrLogo = errors.New("receipt: not a PNG picture for a logo")

// MaxLogoHeight is the height of a logo in dots: 20 mm.
const MaxLogoHeight = 160

// Logo is a picture in black and white, one bit a dot, the first dot of eight
// in the highest bit, each line filled up to whole bytes.
type Logo struct {
	Width, Height int // dots
	bits          []byte
}

// ReadLogo reads a PNG of at most columns × 12 dots width (Columns58,
// Columns80) and MaxLogoHeight; what is darker than half is black, what is
// transparent is paper. It fails with ErrLogo.
func ReadLogo(r io.Reader, cols int) (*Logo, error) {
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, err
	}
	c, err := png.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLogo, err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > cols*dotsPerColumn || c.Height > MaxLogoHeight {
		return nil, fmt.Errorf("%w: %d × %d dots, at most %d × %d are printed", ErrLogo, c.Width, c.Height, cols*dotsPerColumn, MaxLogoHeight)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLogo, err)
	}
	l := &Logo{Width: c.Width, Height: c.Height, bits: make([]byte, c.Height*((c.Width+7)/8))}
	for y := range l.Height {
		for x := range l.Width {
			if dark(img, x, y) {
				l.bits[y*l.stride()+x/8] |= 0x80 >> (x % 8)
			}
		}
	}
	l.disarm()
	return l, nil
}

func dark(img image.Image, x, y int) bool {
	b := img.Bounds()
	r, g, bl, a := img.At(b.Min.X+x, b.Min.Y+y).RGBA() // colours times alpha
	light := (299*r+587*g+114*bl)/1000 + (0xFFFF - a)  // on white paper
	return light < 0x8000
}

func (l *Logo) stride() int { return (l.Width + 7) / 8 }

func (l *Logo) black(x, y int) bool { return l.bits[y*l.stride()+x/8]&(0x80>>(x%8)) != 0 }

// disarm keeps a picture from holding DLE EOT, DLE ENQ or DLE DC4, which a
// printer carries out wherever they stand: one dot more is not seen.
func (l *Logo) disarm() {
	for i := range len(l.bits) - 1 {
		if next := l.bits[i+1]; l.bits[i] == 0x10 && (next == 0x04 || next == 0x05 || next == 0x14) {
			l.bits[i] |= 0x08
		}
	}
}
