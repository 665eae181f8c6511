package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/uplink"
)

// rescueJSON is what a rescue found.
type rescueJSON struct {
	File       string       `json:"file,omitempty"`
	Terminal   string       `json:"terminal"`
	Sent       []placeJSON  `json:"sent"`
	Found      []rangeJSON  `json:"found"`
	Lost       []rangeJSON  `json:"lost"`
	Unreadable int64        `json:"unreadable_bytes"`
	Last       evidence.Row `json:"last,omitzero"`
}

type placeJSON struct {
	Epoch uint32 `json:"epoch"`
	Seq   uint64 `json:"through"`
}

type rangeJSON struct {
	Epoch   uint32 `json:"epoch"`
	From    uint64 `json:"from"`
	Through uint64 `json:"through"`
	Fork    bool   `json:"two_versions,omitempty"`
}

func newRescueCommand(t *tool) *cobra.Command {
	var keysFile, out string
	cmd := &cobra.Command{
		Use:   "rescue DISK...",
		Short: "Take the unsent entries off the disk of a dead terminal, for the utility",
		Long: "Looks for the entries that the utility does not have in all that is given: the\n" +
			"terminal's folder, its file, the second copy, or the image of a disk or partition.\n" +
			"These are only read and may be damaged; what is in one helps where the other is\n" +
			"broken. Each entry must follow by its hash from the one before it. What was found is\n" +
			"signed with the terminal's own key file and written to --out, which `utilityd\n" +
			"evidence take` takes in as if the terminal had sent it; twice does no harm.\n\n" +
			"Exit code 4 means that entries are missing between others; the rest was written.",
		Example: "  cardtool rescue terminal --out unsent.evidence",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			media, keys, err := disks(args)
			if err != nil {
				return err
			}
			if keysFile != "" {
				keys = keysFile
			}
			k, err := terminalKeys(keys)
			if err != nil {
				return err
			}
			var open []io.ReaderAt
			for _, m := range media {
				f, err := os.Open(m)
				if err != nil {
					return err
				}
				defer f.Close()
				open = append(open, f)
				t.remark(cmd, "reading %s", m)
			}
			found := store.Salvage(k.Terminal, k.Utility[:], open...)
			return t.rescued(cmd, k, found, out)
		},
	}
	cmd.Flags().StringVar(&keysFile, "keys", "", "the terminal's key file; empty: terminal.keys in the folder given")
	cmd.Flags().StringVar(&out, "out", "", "file to write; it must not exist, and must not lie on the dead disk")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is there
	}
	return cmd
}

// rescued writes and tells what was found.
func (t *tool) rescued(cmd *cobra.Command, k uplink.Keys, found store.Salvaged, out string) error {
	say := rescueJSON{Terminal: k.Terminal.String(), Sent: []placeJSON{}, Found: []rangeJSON{}, Lost: []rangeJSON{}, Unreadable: found.Unreadable}
	for _, h := range found.Sent {
		say.Sent = append(say.Sent, placeJSON{h.Epoch, h.Seq})
	}
	for _, r := range found.Runs {
		say.Found = append(say.Found, rangeJSON{Epoch: r.Epoch, From: r.From, Through: r.From + uint64(len(r.Entries)) - 1})
	}
	for _, g := range found.Lost {
		say.Lost = append(say.Lost, rangeJSON{g.Epoch, g.From, g.Through, g.Fork})
	}
	if len(found.Sent) == 0 {
		return &cli.Error{Err: fmt.Errorf("%w: nothing of terminal %s is on what was given", cli.ErrDifference, k.Terminal), Code: classDifference.Exit,
			Next: "give the image of the whole disk, and everything whose name begins with terminal"}
	}
	b, p, err := evidence.Rescue(k.Terminal, k.Signer, found)
	switch {
	case errors.Is(err, evidence.ErrNothing):
	case err != nil:
		return err
	default:
		if err := evidence.WriteFile(out, b); err != nil {
			return err
		}
		say.File = out
		rows := evidence.Rows(p, nil)
		say.Last = rows[len(rows)-1]
	}
	if t.json {
		err = t.emit(cmd, say)
	} else {
		err = say.write(cmd.OutOrStdout())
	}
	if err == nil && len(found.Lost) > 0 {
		err = &cli.Error{Err: fmt.Errorf("%w: not everything was found: %s", cli.ErrDifference, found.Lost[0]), Code: classDifference.Exit,
			Next: "give the other copies too (terminal.copy, terminal.copy.aside-1, an image of the disk); what is behind the gap the utility takes when the gap is filled"}
	}
	return err
}

func (say rescueJSON) write(w io.Writer) error {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("terminal %s", say.Terminal)
	for _, s := range say.Sent {
		p("epoch %d: the utility has the entries up to %d", s.Epoch, s.Seq)
	}
	for _, r := range say.Found {
		p("epoch %d: found %d entries that it may not have, %d to %d", r.Epoch, r.Through-r.From+1, r.From, r.Through)
	}
	for _, r := range say.Lost {
		p("epoch %d: NOT FOUND: entries %d to %d", r.Epoch, r.From, r.Through)
	}
	if say.Unreadable > 0 {
		p("# %d bytes of the disk could not be read", say.Unreadable)
	}
	if say.File == "" {
		p("# nothing is to be handed in; no file was written")
		return nil
	}
	p("the last: %s", say.Last)
	p("# written to %s; hand it to the utility: utilityd evidence take %s", say.File, say.File)
	_, err := fmt.Fprintln(w, "# compare the last with the shop's last slip: what was never on the disk can't be found")
	return err
}

// disks gives the files to read. Of a folder it is everything that a terminal
// keeps entries in, and the key file.
func disks(args []string) (media []string, keys string, err error) {
	for _, a := range args {
		st, err := os.Stat(a)
		if err != nil {
			return nil, "", err
		}
		dir := a
		if !st.IsDir() {
			dir = filepath.Dir(a)
		}
		alive := filelock.Held(dir)
		if alive == nil { // a daemon that knows no lock of the folder has its database locked
			alive = filelock.FileHeld(station.StorePath(dir))
		}
		if err := alive; errors.Is(err, filelock.ErrHeld) {
			return nil, "", &cli.Error{Err: fmt.Errorf("%s is %w", dir, cli.ErrInUse), Code: classInUse.Exit, Next: "this terminal is alive: it sends its entries by itself when it is on line; nothing was opened"}
		} else if err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, "", err
		}
		if !st.IsDir() {
			media = append(media, a)
			continue
		}
		if keys == "" {
			keys = station.KeysPath(a)
		}
		for _, pattern := range []string{"terminal.db*", "terminal.copy*"} {
			list, err := filepath.Glob(filepath.Join(a, pattern))
			if err != nil {
				return nil, "", err
			}
			media = append(media, list...)
		}
	}
	if len(media) == 0 {
		return nil, "", fmt.Errorf("%w: there is no terminal.db and no terminal.copy", cli.ErrUsage)
	}
	return media, keys, nil
}

// terminalKeys reads the key file, without which nothing can be signed.
func terminalKeys(path string) (uplink.Keys, error) {
	if path == "" {
		return uplink.Keys{}, fmt.Errorf("%w: give the terminal's key file with --keys", cli.ErrUsage)
	}
	k, err := uplink.LoadKeys(path)
	if err == nil {
		return k, nil
	}
	next := "the entries can be signed by the terminal's own keys only: look for terminal.keys on the disk, and give it with --keys"
	if errors.Is(err, uplink.ErrPermissions) {
		next = "copy it to where nobody else can read it, and give the copy with --keys"
	}
	return uplink.Keys{}, &cli.Error{Err: err, Code: classFailed.Exit, Next: next}
}
