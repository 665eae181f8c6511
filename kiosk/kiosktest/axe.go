package kiosktest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/chromedp/chromedp"
)

// axe-core looks for what keeps people from using a page. It is another's
// work and not part of this repository: npm fetches this one version into the
// user's cache, and nothing is run whose bytes are others than these.
const (
	axeVersion   = "4.14.1"
	axeIntegrity = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// Errors of fetching axe-core.
var (
	ErrNoAxe    = errors.New("axe-core is not to be had")
	ErrWrongAxe = errors.New("axe-core is not the one that is pinned")
)

var loadAxe = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoAxe, err)
	}
	dir := filepath.Join(cache, "dianka-test")
	b, err := os.ReadFile(filepath.Join(dir, "axe-core-"+axeVersion+".tgz"))
	if err == nil && checkAxe(b) == nil {
		return axeScript(b)
	}
	// Fetched beside and renamed, so that two test processes do not read each
	// other's half.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoAxe, err)
	}
	tmp, err := os.MkdirTemp(dir, "fetch")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoAxe, err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("npm", "pack", "axe-core@"+axeVersion, "--silent", "--pack-destination", tmp)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: npm: %w: %s", ErrNoAxe, err, bytes.TrimSpace(out))
	}
	name := "axe-core-" + axeVersion + ".tgz"
	if b, err = os.ReadFile(filepath.Join(tmp, name)); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoAxe, err)
	}
	if err := checkAxe(b); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(tmp, name), filepath.Join(dir, name)); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoAxe, err)
	}
	return axeScript(b)
})

// checkAxe fails with ErrWrongAxe for a package that is not the pinned one.
func checkAxe(tgz []byte) error {
	sum := sha512.Sum512(tgz)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != axeIntegrity {
		return fmt.Errorf("%w: %s", ErrWrongAxe, got)
	}
	return nil
}

// axeScript takes the script out of the package.
func axeScript(tgz []byte) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(tgz))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrWrongAxe, err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return "", fmt.Errorf("%w: no script in it: %w", ErrWrongAxe, err)
		}
		if h.Name == "package/axe.min.js" {
			b, err := io.ReadAll(r)
			return string(b), err
		}
	}
}

// Axe asserts that axe-core finds nothing on what is shown now. It says so
// and goes on when axe-core can't be fetched; DIANKA_REQUIRE_AXE=1 forbids
// that. An axe-core that is not the pinned one always fails.
func (b *Tab) Axe(what string) {
	b.t.Helper()
	script, err := loadAxe()
	if errors.Is(err, ErrNoAxe) && os.Getenv("DIANKA_REQUIRE_AXE") != "1" {
		b.t.Logf("%s: not looked at by axe-core: %v", what, err)
		return
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if !Eval[bool](b, `Boolean(window.axe)`) {
		b.Run(chromedp.Evaluate[chromedp.Void](script + "; undefined"))
	}
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](
		`axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) => v.id + " (" + v.help + "): " + v.nodes.map((n) => n.html.slice(0, 160) + " " + n.any.concat(n.all, n.none).map((c) => c.message).join("; ").slice(0, 240)).join(" | ")))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: axe-core: %v", what, err)
	}
	for _, f := range found {
		b.t.Errorf("%s: axe-core: %s", what, strings.ReplaceAll(f, "\n", " "))
	}
}
