package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/explain"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/transcript"
	"github.com/dianka/dianka/purse"
)

// profilesEnv names the folder of profiles where no flag does.
const profilesEnv = "CARDTOOL_PROFILES"

func profilesDir() string {
	if dir := os.Getenv(profilesEnv); dir != "" {
		return dir
	}
	return profiles.DefaultDir
}

// profiles are those in force: a folder that is broken leaves those that are
// built in, and it is said once.
func (t *tool) profiles() *profiles.Set {
	if t.known == nil {
		f := profiles.Watch(t.own)
		t.known = f.Current()
		if err := f.Err(); err != nil {
			fmt.Fprintf(os.Stderr, "# only the built-in profiles are in force: %v\n", err)
		}
	}
	return t.known
}

func (t *tool) explainer() explain.Explainer { return explain.Explainer{Profiles: t.profiles()} }

func newProfileCommand(t *tool) *cobra.Command {
	cmd := &cobra.Command{Use: "profile", Short: "What is known of kinds of cards, SAMs and readers", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newProfileListCommand(t), newProfileShowCommand(t), newProfileCheckCommand(t), newProfileMatchCommand(t), newProfileLearnCommand(t))
	return cmd
}

type profileJSON struct {
	Kind        string   `json:"kind"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Origin      string   `json:"origin"` // "built in" or a file
	Transcript  bool     `json:"transcript"`
	Known       []string `json:"known"`
	NotKnown    []string `json:"not_known"`
	Text        string   `json:"text,omitempty"`
}

func profileOf(s *profiles.Set, k profiles.Kind, name string) profileJSON {
	out := profileJSON{Kind: string(k), Name: name, Origin: s.Origin(k, name), Transcript: s.Transcript(k, name) != nil}
	var f profiles.Facts
	switch k {
	case profiles.KindCard:
		c, _ := s.Card(name)
		out.Description, f = c.Description, c.Facts
	case profiles.KindSAM:
		c, _ := s.SAM(name)
		out.Description, f = c.Description, c.Facts
	case profiles.KindReader:
		c, _ := s.Reader(name)
		out.Description, f = c.Description, c.Facts
	}
	out.Known, out.NotKnown = append([]string{}, f.Known...), append([]string{}, f.NotKnown...)
	return out
}

func newProfileListCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the profiles in force, and where they come from",
		Example: "  cardtool profile list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, list := t.profiles(), []profileJSON{}
			for _, k := range profiles.Kinds {
				for _, n := range s.Names(k) {
					list = append(list, profileOf(s, k, n))
				}
			}
			if t.json {
				return t.emit(cmd, list)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, p := range list {
				fmt.Fprintf(w, "%s/%s\t%s\t%s\n", p.Kind, p.Name, p.Origin, p.Description)
			}
			return w.Flush()
		},
	}
}

// named finds a profile by its name, or by kind/name.
func named(s *profiles.Set, arg string) (profiles.Kind, string, error) {
	kind, name, whole := strings.Cut(arg, "/")
	if !whole {
		kind, name = "", arg
	}
	for _, k := range profiles.Kinds {
		if (!whole || string(k) == kind) && slices.Contains(s.Names(k), name) {
			return k, name, nil
		}
	}
	return "", "", &cli.Error{Err: fmt.Errorf("%w: there is no profile %q", cli.ErrUsage, arg), Code: classUsage.Exit, Next: "cardtool profile list lists them"}
}

func newProfileShowCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a profile as it is written, with what is known and what is not",
		Example: "  cardtool profile show gempc-twin\n  cardtool profile show cards/dianka-ep --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := t.profiles()
			k, name, err := named(s, args[0])
			if err != nil {
				return err
			}
			out := profileOf(s, k, name)
			if t.json {
				out.Text = string(s.Text(k, name))
				return t.emit(cmd, out)
			}
			t.remark(cmd, "%s/%s, %s", k, name, out.Origin)
			if !out.Transcript {
				t.remark(cmd, "it has no transcript")
			}
			_, err = cmd.OutOrStdout().Write(s.Text(k, name))
			return err
		},
	}
}

func newProfileCheckCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FOLDER]",
		Short: "Check a folder of profiles: schema, and transcripts against this program",
		Long: "Reads the folder as the terminal does and tells every fault with file and line.\n" +
			"Then plays each transcript (x.trace beside x.yaml) against the code: it must send\n" +
			"what was recorded and make of the answers what is said there. Exits with 3 when a\n" +
			"file is broken, with 4 when a transcript goes otherwise.",
		Example: "  cardtool profile check",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := t.own
			if len(args) > 0 {
				dir = args[0]
				if _, err := os.Stat(dir); err != nil {
					return err
				}
			}
			s, err := profiles.LoadDir(dir)
			if err != nil {
				return &cli.Error{Err: err, Code: classConfig.Exit, Next: "correct the lines; until then the profiles of before stay in force"}
			}
			type checkedJSON struct {
				Profile string `json:"profile"`
				Origin  string `json:"origin"`
				Says    string `json:"says"`
			}
			list, wrong := []checkedJSON{}, []error(nil)
			for _, k := range profiles.Kinds {
				for _, n := range s.Names(k) {
					c := checkedJSON{string(k) + "/" + n, s.Origin(k, n), "ok"}
					switch err := transcript.Play(cmd.Context(), s, k, n); {
					case errors.Is(err, transcript.ErrNone):
						c.Says = "ok, but nothing was recorded to prove it"
					case err != nil:
						c.Says = err.Error()
						wrong = append(wrong, fmt.Errorf("%w: %s: %w", cli.ErrDifference, strings.TrimSuffix(c.Origin, ".yaml")+".trace", err))
					}
					list = append(list, c)
				}
			}
			if t.json {
				err = t.emit(cmd, list)
			} else {
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				for _, c := range list {
					fmt.Fprintf(w, "%s\t%s\t%s\n", c.Profile, c.Origin, c.Says)
				}
				err = w.Flush()
			}
			return errors.Join(append([]error{err}, wrong...)...)
		},
	}
}

type matchJSON struct {
	Reader   string   `json:"reader,omitempty"`
	ReaderBy string   `json:"reader_by,omitempty"` // firmware, usb, name or default
	ATR      string   `json:"atr,omitempty"`
	Cards    []string `json:"cards,omitempty"` // that are tried for such an answer to reset, in this order
	Found    string   `json:"found,omitempty"` // the one whose application is on the card
}

func newProfileMatchCommand(t *tool) *cobra.Command {
	var id profiles.ReaderID
	cmd := &cobra.Command{
		Use:   "match [ATR]",
		Short: "Tell which profiles are for a reader and the card in it, or for what is given",
		Long: "Without arguments looks at the reader and the card in it, whose purse is selected.\n" +
			"Else tells it of an answer to reset, or of a reader by --reader-name, --usb or\n" +
			"--firmware, with nothing there.",
		Example: "  cardtool profile match\n  cardtool profile match 3B6D00000031C071D66438D00300849000\n  cardtool profile match --firmware GemTwRC2-V2.10",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, out := t.profiles(), matchJSON{}
			atr, err := hex.DecodeString(strings.ReplaceAll(strings.Join(args, ""), " ", ""))
			if err != nil {
				return fmt.Errorf("%w: an answer to reset is hexadecimal: %w", cli.ErrUsage, err)
			}
			cards := func(atr []byte) {
				out.ATR = fmt.Sprintf("%X", atr)
				for _, c := range s.MatchCards(atr) {
					out.Cards = append(out.Cards, c.Name)
				}
			}
			if len(atr) == 0 && id == (profiles.ReaderID{}) {
				err = t.withCard(cmd, func(ctx context.Context, l *line) error {
					id.Name = l.slot.Name()
					cards(l.ATR())
					app, err := purse.Select(ctx, l.whole(), s.MatchCards(l.ATR()))
					if err == nil {
						out.Found = app.Profile().Name
					}
					if errors.Is(err, purse.ErrNoPurse) {
						return nil
					}
					return err
				})
				if err != nil {
					return err
				}
			} else if len(atr) > 0 {
				cards(atr)
			}
			if id != (profiles.ReaderID{}) {
				r, by, ok := s.MatchReader(id)
				if ok {
					out.Reader, out.ReaderBy = r.Name, by
				}
			}
			if t.json {
				return t.emit(cmd, out)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			if out.Reader != "" {
				fmt.Fprintf(w, "reader\t%s, by its %s\n", out.Reader, out.ReaderBy)
			}
			if out.ATR != "" {
				fmt.Fprintf(w, "answer to reset\t%s\n", out.ATR)
				fmt.Fprintf(w, "tried\t%s\n", strings.Join(out.Cards, ", "))
			}
			if out.Found != "" {
				fmt.Fprintf(w, "found\t%s\n", out.Found)
			} else if id.Name != "" && out.ATR != "" {
				fmt.Fprintf(w, "found\tno purse: cardtool profile learn drafts a profile\n")
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&id.Name, "reader-name", "", "name of a reader")
	cmd.Flags().StringVar(&id.USB, "usb", "", "USB id of a reader, as 08E6:3437")
	cmd.Flags().StringVar(&id.Firmware, "firmware", "", "firmware string of a reader")
	return cmd
}

func newProfileLearnCommand(t *tool) *cobra.Command {
	var aid, out string
	var ofReader bool
	cmd := &cobra.Command{
		Use:   "learn NAME",
		Short: "Draft a profile from the card in the reader, or from the reader",
		Long: "Looks at the card: its applications, files, purse, key indexes and log; and writes a\n" +
			"draft of a profile in which is said what was found, what was assumed and what could\n" +
			"not be found out. It presents no PIN and no cryptogram and moves nothing. With --out\n" +
			"profile and transcript are written into a folder, as --profiles takes it, which must\n" +
			"not have them yet. With --of-reader it drafts the profile of the reader.",
		Example: "  cardtool profile learn newcomer\n  cardtool profile learn mine --of-reader",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name == "" {
				return fmt.Errorf("%w: a profile's name has small letters, digits and hyphens", cli.ErrUsage)
			}
			app, err := hex.DecodeString(aid)
			if err != nil || aid != "" && (len(app) < 5 || len(app) > 16) {
				return fmt.Errorf("%w: --aid has 5 to 16 bytes in hexadecimal digits", cli.ErrUsage)
			}
			var text, trace []byte
			kind := profiles.KindCard
			if ofReader {
				kind = profiles.KindReader
				text, trace, err = t.learnReader(cmd, name)
			} else {
				err = t.withCard(cmd, func(ctx context.Context, l *line) (err error) {
					text, trace, err = learnCard(ctx, whole{l}, t.profiles(), name, app)
					return err
				})
			}
			if err != nil {
				return err
			}
			if out == "" {
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			base := filepath.Join(out, string(kind), name)
			if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
				return err
			}
			for _, f := range []struct {
				ext string
				b   []byte
			}{{".yaml", text}, {".trace", trace}} {
				w, err := os.OpenFile(base+f.ext, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
				if err != nil {
					return fmt.Errorf("%w: %w", cli.ErrUsage, err)
				}
				_, err = w.Write(f.b)
				if err := errors.Join(err, w.Close()); err != nil {
					return err
				}
			}
			fmt.Fprintln(cmd.OutOrStdout(), base+".yaml")
			t.remark(cmd, "a draft: read what it does not know, then cardtool profile check %s", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&aid, "aid", "", "name of the purse application, when the card's directory does not tell it")
	cmd.Flags().StringVar(&out, "out", "", "folder to write profile and transcript into")
	cmd.Flags().BoolVar(&ofReader, "of-reader", false, "of the reader, not of the card")
	return cmd
}
