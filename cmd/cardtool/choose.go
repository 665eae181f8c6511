package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/reader/serial"
)

// Environment of the tool.
const (
	readerEnv  = "CARDTOOL_READER"
	aliasesEnv = "CARDTOOL_ALIASES"
	readersEnv = "CARDTOOL_READER_CONF" // folder of pcscd's own --config, for a service that was started with one
)

// serialConf is the folder in which pcscd's serial readers are configured.
func serialConf() string {
	if dir := os.Getenv(readersEnv); dir != "" {
		return dir
	}
	return serial.ReaderConf
}

// pcscService is the PC/SC service of this machine, bytes as they are. It ends
// with the process: to wait for the end of its watcher would only cost time.
func (t *tool) pcscService() (*pcsc.Service, error) {
	if t.service == nil {
		s, err := pcsc.New(pcsc.Options{Raw: true})
		if err != nil {
			return nil, err
		}
		t.service = s
	}
	return t.service, nil
}

// names are the readers that are there, in the order of their numbers.
func (t *tool) names(ctx context.Context) ([]string, error) {
	s, err := t.pcscService()
	if err != nil {
		return nil, err
	}
	list, err := s.List(ctx)
	for i := range list {
		list[i] = "pcsc:" + list[i]
	}
	return list, err
}

// slot opens the reader that --reader, the environment or the circumstances
// name.
func (t *tool) slot(ctx context.Context) (reader.Slot, error) {
	if _, ok := t.ofTerminal(); ok {
		return nil, errTerminalReader
	}
	full, err := t.choose(ctx)
	if err != nil {
		return nil, err
	}
	slot, err := reader.Backends{"pcsc": t.pcscSlot, "serial": t.serialSlot, "sim": simSlot}.Open(full)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(full, "sim:") {
		t.close = append(t.close, slot.Close)
	}
	return slot, nil
}

func (t *tool) pcscSlot(fragment string) (reader.Slot, error) {
	s, err := t.pcscService()
	if err != nil {
		return nil, err
	}
	return s.Slot(fragment)
}

func envReader() string { return os.Getenv(readerEnv) }

// choose gives the reader's name as reader.Backends takes it.
func (t *tool) choose(ctx context.Context) (string, error) {
	want := t.name
	if want == "" {
		want = envReader()
	}
	aliases, err := readAliases()
	if err != nil {
		return "", err
	}
	if a, ok := aliases[want]; ok {
		want = a
	}
	if kind, _, ok := strings.Cut(want, ":"); ok && kind != "pcsc" {
		return want, nil
	}
	if bare := strings.TrimPrefix(want, "pcsc:"); want != "" && strings.Trim(bare, ": ") == "" {
		return "", &reader.Error{Slot: want, Op: "open", Kind: reader.ErrSlotName, Hint: "after pcsc: stands a part of the reader's name; cardtool readers lists them"}
	} else {
		want = bare
	}
	names, err := t.names(ctx)
	if err != nil {
		return "", err
	}
	if want == "" && len(names) > 1 {
		if only, err := t.withACard(ctx, names); only != "" || err != nil {
			return only, err
		}
	}
	return match(want, names)
}

// match finds a reader by number or by a part of its name.
func match(want string, names []string) (string, error) {
	if n, err := strconv.Atoi(want); err == nil && n > 0 && strconv.Itoa(n) == want {
		if n > len(names) {
			return "", &reader.Error{Slot: want, Op: "open", Kind: reader.ErrSlotName,
				Cause: fmt.Errorf("there are %d readers", len(names)), Hint: "cardtool readers lists them with their numbers"}
		}
		return names[n-1], nil
	}
	bare := make([]string, len(names))
	for i, n := range names {
		bare[i] = strings.TrimPrefix(n, "pcsc:")
	}
	name, err := reader.Match(want, bare)
	if err != nil {
		hint := "cardtool readers lists them; choose one by --reader with its number or a part of its name"
		if len(names) == 0 {
			hint = "plug the reader in; lsusb shows whether the computer sees it, cardtool doctor what is between"
		}
		return "", &reader.Error{Slot: "pcsc:" + want, Op: "open", Kind: err, Hint: hint}
	}
	return "pcsc:" + name, nil
}

// withACard gives, of several readers, the one whose card is of the kind that
// is wanted, or else the only one that has a card in it. Nothing that an
// application is asked for it stays in a card: it is powered off after.
func (t *tool) withACard(ctx context.Context, names []string) (string, error) {
	var some, wanted []string
	var kind checkup.Kind
	for _, n := range names {
		ev := t.state(ctx, n)
		if ev.State != reader.StateCard && ev.State != reader.StateMute {
			continue
		}
		some, kind = append(some, n), t.kindIn(ctx, n)
		if kind == t.wanted() {
			wanted = append(wanted, n)
		}
	}
	switch {
	case len(wanted) == 1:
		return wanted[0], nil
	case len(wanted) == 0 && len(some) == 1:
		if kind != checkup.KindOther {
			t.note = fmt.Sprintf("%s: this is a %s", some[0], kind)
		}
		return some[0], nil
	}
	return "", ctx.Err()
}

// wanted is the kind of card that a command is for.
func (t *tool) wanted() checkup.Kind {
	if t.sam {
		return checkup.KindSAM
	}
	return checkup.KindPurse
}

// kindIn finds out what the card in a PC/SC reader is.
func (t *tool) kindIn(ctx context.Context, name string) checkup.Kind {
	slot, err := t.pcscSlot(strings.TrimPrefix(name, "pcsc:"))
	if err != nil {
		return checkup.KindOther
	}
	c, err := t.openIn(ctx, slot)
	if err != nil { // mute, or held by another program
		return checkup.KindOther
	}
	defer c.Close()
	return checkup.KindOf(ctx, c, t.profiles())
}

// state is what is in a PC/SC reader now.
func (t *tool) state(ctx context.Context, name string) reader.Event {
	slot, err := t.pcscSlot(strings.TrimPrefix(name, "pcsc:"))
	if err != nil {
		return reader.Event{Slot: name, State: reader.StateLost, Cause: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return <-slot.Events(ctx)
}

// aliasesFile is where a technician names his readers.
func aliasesFile() string {
	if f := os.Getenv(aliasesEnv); f != "" {
		return f
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "dianka", "readers")
}

// readAliases reads lines of "alias = reader", # begins a remark. A file that
// is not there has none.
func readAliases() (map[string]string, error) {
	file := aliasesFile()
	f, err := os.Open(file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || file == "" {
			return nil, nil
		}
		return nil, fmt.Errorf("%w: %w", config.ErrFile, err)
	}
	defer f.Close()
	list := map[string]string{}
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		text, _, _ := strings.Cut(strings.TrimPrefix(s.Text(), mark), "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		alias, target, ok := strings.Cut(text, "=")
		alias, target = strings.TrimSpace(alias), strings.TrimSpace(target)
		if !ok || alias == "" || target == "" {
			return nil, fmt.Errorf("%w: %s:%d: a line is `alias = reader`", config.ErrFile, file, n)
		}
		list[alias] = target
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", config.ErrFile, file, err)
	}
	return list, nil
}
