package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/ledger"
)

func newReportCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "report", Short: "Lists, also while the daemon runs", Args: cobra.NoArgs, RunE: cli.Group}
	add := func(use, short string, f func(context.Context, *utility.Service, io.Writer) error) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return o.read(cmd, func(ctx context.Context, s *utility.Service) error {
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				if err := f(ctx, s, w); err != nil {
					return err
				}
				return w.Flush()
			})
		}})
	}
	add("accounts", "Every account of value with its balance", reportAccounts)
	add("shops", "Shops with float and room", reportShops)
	add("terminals", "Terminals with what is stored of them", reportTerminals)
	add("quarantine", "Entries that could not be accepted, and why", reportQuarantine)
	add("alarms", "What a person must look at", reportAlarms)
	add("missing", "Gaps in the counters of cards: payments and loads that no terminal has sent", reportMissing)
	cmd.AddCommand(newReportStaffCommand(o))
	add("open", "Movements whose fate is unknown", reportItems((*utility.Service).OpenItems))
	add("claims", "What customers are owed: top-ups and bills that were not done, cards that were replaced", reportItems((*utility.Service).Claims))
	add("suspense", "Redemptions to accounts that nobody knows", reportItems((*utility.Service).Suspense))
	return cmd
}

func reportAccounts(ctx context.Context, s *utility.Service, w io.Writer) error {
	list, err := s.Balances(ctx)
	fmt.Fprintln(w, "account\tbalance")
	for _, b := range list {
		fmt.Fprintf(w, "%s\t%s\n", b.Account, b.Amount)
	}
	return err
}

func reportShops(ctx context.Context, s *utility.Service, w io.Writer) error {
	fmt.Fprintln(w, "shop\tname\tfloat\tceiling\treserved\tallowances\troom")
	for _, sh := range s.Shops() {
		r, err := s.ShopRoom(ctx, sh.Shop)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", sh.Shop, sh.Name, r.Float, r.Ceiling, r.Reserved, r.Allowances, r.Room)
	}
	return nil
}

func reportTerminals(ctx context.Context, s *utility.Service, w io.Writer) error {
	list, err := s.Terminals(ctx)
	fmt.Fprintln(w, "terminal\tshop\tepoch\tentries\tPSAM\tload SAM\tstate")
	for _, t := range list {
		state := "good"
		switch {
		case t.Frozen:
			state = "frozen: it signed two entries of one name"
		case t.Blocked:
			state = "blocked"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", t.Terminal, t.Shop, t.Head.Epoch, t.Head.Seq, t.PSAM, t.LoadSAM, state)
	}
	return err
}

func reportQuarantine(ctx context.Context, s *utility.Service, w io.Writer) error {
	list, err := s.Quarantine(ctx)
	fmt.Fprintln(w, "entry\treason")
	for _, h := range list {
		fmt.Fprintf(w, "%s\t%s\n", h.Name, h.Reason)
	}
	return err
}

func reportAlarms(ctx context.Context, s *utility.Service, w io.Writer) error {
	list, err := s.Alarms(ctx)
	fmt.Fprintln(w, "alarm\tentry\tdetail")
	for _, a := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\n", a.Kind, a.Name, a.Detail)
	}
	return err
}

func reportMissing(ctx context.Context, s *utility.Service, w io.Writer) error {
	list, err := s.MissingRecords(ctx)
	fmt.Fprintln(w, "card\tcounter\tfrom\tthrough")
	for _, m := range list {
		counter := "payments"
		if m.Load {
			counter = "loads"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", m.Card, counter, m.From, m.Through)
	}
	return err
}

func newReportStaffCommand(o *office) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "staff",
		Short: "What the staff of terminals did, by their signed entries",
		Long: "Logins, wrong PINs (with the number that was typed), locks, logouts, refusals for\n" +
			"want of a right, second persons of voids, shifts, and all that moves money on a\n" +
			"person's word. The time is the terminal's, which may be wrong.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var only money.TerminalID
			if at != "" {
				var err error
				if only, err = money.ParseTerminalID(at); err != nil {
					return err
				}
			}
			return o.read(cmd, func(ctx context.Context, s *utility.Service) error {
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				if err := reportStaff(ctx, s, only, w); err != nil {
					return err
				}
				return w.Flush()
			})
		},
	}
	cmd.Flags().StringVar(&at, "terminal", "", "only of this terminal")
	return cmd
}

func reportStaff(ctx context.Context, s *utility.Service, only money.TerminalID, w io.Writer) error {
	fmt.Fprintln(w, "entry\ttime\tstaff\tact\tcount\tdetail\tabout")
	return s.StaffActs(ctx, only, func(e journal.Entry) error {
		staff, count, detail, about := e.Actor.ID, uint32(1), "", ""
		if b, ok := e.Body.(*journal.Staff); ok {
			staff, count = b.Staff, b.Count
			if b.Detail != "" {
				detail = strconv.Quote(b.Detail) // a terminal's word, which may hold anything
			}
		}
		if !e.Ref.IsZero() {
			about = e.Ref.Of(e.Name.Terminal).String()
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", e.Name, time.UnixMilli(e.Wall).In(money.CST).Format(time.DateTime), staff, journal.Deed(e), count, detail, about)
		return err
	})
}

func reportItems(get func(*utility.Service, context.Context) ([]ledger.Item, error)) func(context.Context, *utility.Service, io.Writer) error {
	return func(ctx context.Context, s *utility.Service, w io.Writer) error {
		list, err := get(s, ctx)
		fmt.Fprintln(w, "entry\tcard\taccount\tamount")
		for _, it := range list {
			account := ""
			if it.Account != 0 {
				account = it.Account.String()
			}
			fmt.Fprintf(w, "%s\t…%s\t%s\t%s\n", it.Name, it.Card.Last4(), account, it.Amount)
		}
		return err
	}
}
