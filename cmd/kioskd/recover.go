package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/store"
)

func newRecoverCommand() *cobra.Command {
	var path, state string
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Make a damaged terminal's file anew from its second copy; for the technician",
		Long: "Keeps the damaged file under another name and makes a new one of the entries in\n" +
			"the second copy, which are those that the utility may not have. The new file sends\n" +
			"them under the old enrolment and takes nothing new until `kioskd enrol`. Refuses\n" +
			"while the daemon runs, and when the file is sound.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := station.Config{Dir: filepath.Join(state, "terminal"), Check: station.Self()}
			if path != "" {
				c, err := loadConfig(path)
				if err != nil {
					return err
				}
				cfg.Dir, cfg.Copy = c.State, c.Copy
			}
			if foreign(cfg.Dir) {
				return fmt.Errorf("%s belongs to another user: run this as the user of the daemon, or it could not open what is made; nothing was changed", cfg.Dir)
			}
			r, err := station.Recover(cmd.Context(), cfg)
			if errors.Is(err, store.ErrInUse) {
				return fmt.Errorf("the terminal's file in %s is %w: the daemon is running; stop it first", cfg.Dir, cli.ErrInUse)
			}
			if err != nil {
				return err
			}
			p := func(format string, args ...any) { fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) }
			p("terminal %s: the file was made anew from %s", r.Identity.Terminal, r.Path)
			if r.Damaged != "" {
				p("the damaged file is kept as %s; delete it only when the utility agrees that nothing is missing", r.Damaged)
			}
			for _, h := range r.Heads {
				p("epoch %d ends at entry %d", h.Epoch, h.Seq)
			}
			if r.Entries > 0 {
				p("%d entries are to be sent, the last of %s; compare it with the last slip", r.Entries, time.UnixMilli(r.Last).Format(time.DateTime))
			} else {
				p("nothing is to be sent: the utility holds every entry that the copy knows of")
			}
			if r.Cut {
				p("the copy ends in what is no entry: one that was being written when the power went, or damage; look for a slip later than the last entry")
			}
			p("the staff that a manager added on the screen were in the old file only, and so was who was locked: who is in the configuration can log in, the others must be added again")
			p("next: `kioskd enrol` with a new code from the utility; until then nothing is sold, and `kioskd serve` sends what is unsent")
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file of the terminal")
	cmd.Flags().StringVar(&state, "state", "", "state folder of a kioskd --sim")
	cmd.MarkFlagsOneRequired("config", "state")
	cmd.MarkFlagsMutuallyExclusive("config", "state")
	return cmd
}
