package main

import (
	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/station"
)

func newRootCommand() *cobra.Command {
	t := &tool{}
	cmd := &cobra.Command{
		Use:   "cardtool",
		Short: "The technician's tool for cards and readers",
		Long: "cardtool shows what a reader and a card say, and what their bytes mean.\n\n" +
			"Remarks for people begin with \"# \", so that the rest can be piped. What can\n" +
			"cost a try of a PIN, move money or write needs --yes; --dry-run shows the exact\n" +
			"commands. The reader is chosen by --reader or " + readerEnv + "; sim:card and others\n" +
			"are simulated (cardtool readers --sim).",
		Version: version,
		Args:    cobra.NoArgs,
		RunE:    cli.Group,
	}
	t.flags(cmd)
	cmd.AddCommand(newReadersCommand(t), newWatchCommand(t), newReaderCommand(t), newATRCommand(t),
		newAPDUCommand(t), newRunCommand(t), newExplainCommand(t),
		newPurseCommand(t), newPSAMCommand(t), newCardCommand(t), newReplayCommand(t), newDoctorCommand(t), newShellCommand(t), newBenchCommand(t), newSimCommand(t),
		newJournalCommand(t), newRescueCommand(t), newPersonaliseCommand(t), newTerminalCommand(t), newProfileCommand(t), station.NewCheckCommand(),
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodes()},
		&cobra.Command{Use: "json", Short: "What --json writes", Long: jsonHelp},
		&cobra.Command{Use: "aliases", Short: "How to name one's readers", Long: aliasesHelp},
	)
	t.finishing(cmd)
	return cmd
}

const aliasesHelp = `A reader can be given by its number in ` + "`cardtool readers`" + `, by any part of its
name that fits no other, or by an alias. Aliases stand in the file
~/.config/dianka/readers (or what ` + aliasesEnv + ` names), one a line:

  # the two slots of the counter's terminal
  counter = Gemalto PC Twin Reader 00
  sam     = Gemalto PC Twin Reader 01
`

const jsonHelp = `With --json a command writes one JSON value to standard output and its remarks
to standard error. Fields are only ever added; none changes its meaning. Bytes
are upper-case hex, "**" stands for one that is secret; amounts end in _fen;
times are RFC 3339.

  readers      [{number, name, alias, state, atr, profiles, event, cause,
               terminal_has_it_for}]
  watch        one object a line: {time, reader, event, state, atr, protocols,
               historical, profiles, cause}
  atr          {atr, valid, error, protocols, historical, profiles, explained}
  reader info  {name, state, in_use, exclusive, attributes: [{name, hex, text}],
               features: [{tag, name, control}], programs: [{pid, name}]}
  apdu         {reader, atr, exchanges: [{command, response, data, sw, meaning,
               ms, auto}], error}
  run          {script, exchanges, cards, failures: [{line, what, want, got,
               at}], refused: [{line, sw}], prints: [{line, text}], error}
  explain      [note] or a trace's {turns: [{line, command, answered_line,
               response, remark, data, means}], moves: [{line, what, type,
               outcome, amount_known, amount_fen, before_fen, after_fen,
               counter, why}], loaded_fen, spent_fen, unknown}; a note is
               {what, hex, says, parts: [note]}
  purse info   {number, profile, issuer, test, app_type, app_version,
               valid_from, valid_to, raw}
  purse balance  {number, balance_fen}
  purse log    [{stamp, type, name, counter, amount_fen, terminal}]
  purse prove  [{type, name, counter_after, proved, tac, mac2, says}]
  purse verify-pin  {number, verified}
  purse load, debit  {number, what, amount_fen, before_fen, after_fen,
               counter_after, terminal, tac, says}; with --through, and
               terminal --wish: {number, what, amount_fen, before_fen,
               after_fen, terminal, transaction, actor, wish, slip, says}
  psam info    {profile, sam, terminal, key_index, valid_from, valid_to, test,
               psam, load_sam: {allowance, ceiling_fen, ceiling_loads,
               given_fen, loads}}
  card dump    the format of dump files; see cardtool card dump --help
  card diff    [{what, before, after}]
  replay       as run
  personalise  {kind, description, cards: [{number, terminal, outcome, found,
               used, checks: [{what, verdict, says}], error}], open, free}
  terminal     {program, terminal, shop, epoch, entries, online, standing,
               unsent, oldest_unsent_ms, unknown, shift, busy, stopped,
               copy_broken, card, readers: [{role, name, holds}], warnings,
               last_sync, skew_ms, link_error, certificate_end, psam:
               {present, serial, problem}, load_sam, load_sam_configured,
               allowance: {known, amount_fen, count}}
  journal list, show  [{entry, time, who, says, held, acknowledged}]
  journal verify  {terminal, known: {terminal, utility}, runs: [{epoch, from,
               through, terminal_key, head, acknowledged_through,
               acknowledged_at_ms, not_posted, utility_key}]}
  journal export  {file, terminal, entries}
  rescue       {file, terminal, sent: [{epoch, through}], found, lost: [{epoch,
               from, through, two_versions}], unreadable_bytes, last}
  doctor       [{check, state, says, next}]
  bench        [{reader, atr, protocol, power_ups, power_up_ms: {median, p99,
               max}, exchanges, exchange_ms: {median, p99, max}, per_second,
               get_response, wrong_length, retries, error}]
  sim          one object a line: {time, slot, event, card, says}
  an error     {error: {exit, class, message, next, sw, sw_means}}; the
               classes are those of ` + "`cardtool help exit-codes`" + `
`
