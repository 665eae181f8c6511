//go:build linux && amd64

package realfault

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/internal/diskcalls"
	"github.com/dianka/dianka/suite"
)

// scratch is a folder of this run, in memory where there is one: what a
// killed process wrote is in the kernel either way, and what a power cut
// leaves is computed.
var scratch string

func TestMain(m *testing.M) {
	diskcalls.Inside()
	checkInside()
	dir := ""
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		dir = "/dev/shm"
	}
	var err error
	if scratch, err = os.MkdirTemp(dir, "realfault"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "case")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// binaries builds kioskd and utilityd once, as they are delivered but for
// PC/SC, and gives their folder.
var binaries = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "bin")
	return dir, build(dir, "./cmd/kioskd", "./cmd/utilityd")
})

func build(dir string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-ldflags", "-s -w", "-o", dir + "/"}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

func program(t testing.TB, name string) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// The negative controls: kioskd with a bug put in, which the variable
// controlEnv chooses. Sources are edited here, in copies.
const (
	controlEnv    = "DIANKA_CONTROL"
	withoutData   = "data"   // bbolt does not sync the data pages of a commit
	withoutMeta   = "meta"   // bbolt does not sync the meta page
	intentTooLate = "intent" // the intent of a debit is written after the card's command
)

const bbolt = "go.etcd.io/bbolt"

type edit struct{ old, new string }

// unless puts a condition around a sync of bbolt.
func unless(bug, mark string) edit {
	const guard = "if !tx.db.NoSync || common.IgnoreNoSync {\n\t\t// gofail: var "
	return edit{guard + mark, "if os.Getenv(\"" + controlEnv + "\") != \"" + bug + "\" {\n\t\t// gofail: var " + mark}
}

// edits are the bugs, by file.
var edits = map[string][]edit{
	"tx.go": {unless(withoutData, "beforeSyncDataPages"), unless(withoutMeta, "beforeSyncMetaPage")},
	"purchase.go": {
		{"\t\"errors\"\n", "\t\"errors\"\n\t\"os\"\n"},
		{"\te, err := t.append(ctx, store.Draft{Actor: w.Who, Ref: w.Parent, Body: &journal.PurchaseIntent{",
			"\tvar early *journal.PurchaseOutcome\n\tif os.Getenv(\"" + controlEnv + "\") == \"" + intentTooLate + "\" {\n\t\tearly = t.execute(ctx, s, grant, stamp)\n\t}\n" +
				"\te, err := t.append(ctx, store.Draft{Actor: w.Who, Ref: w.Parent, Body: &journal.PurchaseIntent{"},
		{"\tout := t.execute(ctx, s, grant, stamp)\n", "\tout := early\n\tif out == nil {\n\t\tout = t.execute(ctx, s, grant, stamp)\n\t}\n"},
	},
}

// controls builds kioskd with the bugs. The compiler takes no replacement for
// a file of the module cache, so bbolt is copied whole and put in by a go.mod
// of the build's own.
var controls = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "control")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", bbolt).Output()
	if err != nil {
		return "", err
	}
	library := filepath.Join(dir, "bbolt")
	if out, err := exec.Command("cp", "-r", "--no-preserve=mode", strings.TrimSpace(string(out)), library).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cp: %w: %s", err, out)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile("../../go.sum")
	if err != nil {
		return "", err
	}
	modFile := filepath.Join(dir, "go.mod")
	if err := errors.Join(
		os.WriteFile(modFile, append(mod, "\nreplace "+bbolt+" => "+library+"\n"...), 0o600),
		os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o600),
	); err != nil {
		return "", err
	}
	tree, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	purchase := filepath.Join(tree, "terminal", "purchase.go")
	bugged := map[string]string{purchase: filepath.Join(dir, "purchase.go"), filepath.Join(library, "tx.go"): filepath.Join(library, "tx.go")}
	for from, to := range bugged {
		b, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		text := string(b)
		for _, e := range edits[filepath.Base(from)] {
			if !strings.Contains(text, e.old) {
				return "", fmt.Errorf("%s does not hold %q any more: put the bug in another way", from, e.old)
			}
			text = strings.Replace(text, e.old, e.new, 1)
		}
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	over, err := json.Marshal(map[string]map[string]string{"Replace": {purchase: bugged[purchase]}})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, over, 0o600); err != nil {
		return "", err
	}
	return filepath.Join(dir, "kioskd"), build(dir, "-modfile", modFile, "-overlay", list, "./cmd/kioskd")
})

// quickVault writes a key vault as utility/vault does, at the least cost of
// Argon2id: a fifth of a second at each of a thousand starts would go into it.
// The keys are the public test keys.
func quickVault(path string, passphrase string) error {
	head := []byte("dianka-vault-1\n")
	head = binary.BigEndian.AppendUint32(head, 1)
	head = binary.BigEndian.AppendUint32(head, 8)
	head = append(head, 1)
	random := make([]byte, 16+chacha20poly1305.NonceSizeX)
	head = append(head, random...)
	aead, err := chacha20poly1305.NewX(argon2.IDKey([]byte(passphrase), random[:16], 1, 8, 1, chacha20poly1305.KeySize))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, aead.Seal(head, random[16:], canon.Marshal(&vaultKeys{suite.TestMasters(), make([]byte, 32)}), head), 0o600)
}

type vaultKeys struct {
	m    suite.Masters
	seed []byte
}

func (v *vaultKeys) Fields(c *canon.Codec) {
	for _, k := range []*[]byte{&v.m.Purchase, &v.m.Load, &v.m.TAC, &v.m.Line, &v.m.PINUnblock, &v.m.PINReload, &v.m.Control, &v.m.Allowance, &v.seed} {
		canon.Bytes(c, k, 64)
	}
}
