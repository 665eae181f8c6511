package kiosk

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dianka/dianka/store"
)

// routes reads from the source which patterns the server answers: the mux does
// not tell, and a call that somebody adds must not be forgotten here.
func routes(t *testing.T) (list []string) {
	t.Helper()
	files := token.NewFileSet()
	pkgs, err := parser.ParseDir(files, ".", func(i fs.FileInfo) bool { return !strings.HasSuffix(i.Name(), "_test.go") }, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		ast.Inspect(p, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || f.Sel.Name != "HandleFunc" && f.Sel.Name != "Handle" {
				return true
			}
			lit, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: a pattern that is not written out", files.Position(call.Pos()))
				return true
			}
			pattern, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Error(err)
			}
			list = append(list, pattern)
			return true
		})
	}
	return list
}

// Who may call, beside the holder of a right.
const (
	anybody  = "anybody"  // needs no session, and shows or does nothing that needs one
	anyStaff = "staff"    // every clerk at an open screen
	anyOne   = "sessions" // every clerk, and the customer's screen
	ownOnly  = "own"      // every clerk; the customer's screen for what was done at it, which is nothing here
	pays     = "pays"     // who has the right to redeem, and the customer's screen
	ownPIN   = "pin"      // every clerk, also one who has to choose a PIN first
	onSocket = "socket"   // on the local socket alone, from a session of the tool (TestService, TestAskWish)
	onDesk   = "desk"     // the simulated desk: play money, no login, and not there at a real terminal
)

// access says who may make each call, and gives one that would be served.
var access = map[string]struct {
	who, path, body string
}{
	"GET /api/v1/status":                              {anybody, "", ""},
	"GET /api/v1/card":                                {anybody, "", ""},
	"GET /api/v1/events":                              {anybody, "", ""},
	"POST /api/v1/login":                              {anybody, "", `{"staff":"7","pin":"2468"}`},
	"POST /api/v1/logout":                             {anybody, "", `{}`},
	"GET /api/v1/card/history":                        {anyOne, "", ""},
	"GET /api/v1/accounts/{number}":                   {anyOne, "/api/v1/accounts/" + acct.String(), ""},
	"POST /api/v1/touch":                              {anyOne, "", `{}`},
	"GET /api/v1/card/accounts":                       {pays, "", ""},
	"POST /api/v1/redemptions":                        {pays, "", fmt.Sprintf(`{"card":"%s","account":"%s","amount":1000}`, cardA, acct)},
	"GET /api/v1/transactions":                        {anyStaff, "", ""},
	"GET /api/v1/transactions/{id}":                   {ownOnly, "/api/v1/transactions/310100001234-1-10", ""},
	"POST /api/v1/transactions/{id}/print":            {ownOnly, "/api/v1/transactions/310100001234-1-10/print", `{}`},
	"GET /api/v1/transactions/{id}/slip.svg":          {ownOnly, "/api/v1/transactions/310100001234-1-10/slip.svg", ""},
	"POST /api/v1/topups":                             {RightTopUp, "", topUpBodyOf(5000, 5000)},
	"POST /api/v1/sales":                              {RightSell, "", fmt.Sprintf(`{"card":"%s","amount":5000,"tendered":5000}`, stock)},
	"POST /api/v1/transactions/{id}/void":             {RightVoid, "/api/v1/transactions/310100001234-1-10/void", `{}`},
	"POST /api/v1/transactions/{id}/cash-returned":    {RightTopUp, "/api/v1/transactions/310100001234-1-10/cash-returned", `{}`},
	"POST /api/v1/bills":                              {RightRedeem, "", fmt.Sprintf(`{"account":"%s","amount":5000,"tendered":5000}`, acct)},
	"GET /api/v1/claims/{id}":                         {RightTopUp, "/api/v1/claims/" + slipA.String(), ""},
	"POST /api/v1/claims/{id}/payout":                 {RightTopUp, "/api/v1/claims/" + slipA.String() + "/payout", `{"amount":5000}`},
	"POST /api/v1/blocks":                             {RightReplace, "", fmt.Sprintf(`{"card":"%s","reason":"lost"}`, cardB)},
	"POST /api/v1/replacements":                       {RightReplace, "", fmt.Sprintf(`{"card":"%s","reason":"damaged"}`, cardA)},
	"GET /api/v1/acts":                                {RightSettle, "", ""},
	"POST /api/v1/shift/open":                         {RightSettle, "", `{"cash":0}`},
	"POST /api/v1/shift/close":                        {RightSettle, "", `{"counted":0}`},
	"GET /api/v1/shift/report":                        {RightSettle, "", ""},
	"GET /api/v1/shift/report/slip.svg":               {RightSettle, "", ""},
	"POST /api/v1/shift/report/print":                 {RightSettle, "", `{}`},
	"GET /api/v1/shifts":                              {RightSettle, "", ""},
	"GET /api/v1/shifts/{number}":                     {RightSettle, "/api/v1/shifts/1", ""},
	"GET /api/v1/shifts/{number}/slip.svg":            {RightSettle, "/api/v1/shifts/1/slip.svg", ""},
	"POST /api/v1/shifts/{number}/print":              {RightSettle, "/api/v1/shifts/1/print", `{}`},
	"POST /api/v1/shifts/{number}/difference":         {RightSettle, "/api/v1/shifts/1/difference", `{"reason":"other","note":"x"}`},
	"GET /api/v1/shifts/{number}/settlement":          {RightSettle, "/api/v1/shifts/1/settlement", ""},
	"GET /api/v1/shifts/{number}/settlement/slip.svg": {RightSettle, "/api/v1/shifts/1/settlement/slip.svg", ""},
	"POST /api/v1/shifts/{number}/settlement/print":   {RightSettle, "/api/v1/shifts/1/settlement/print", `{}`},
	"POST /api/v1/card/empty":                         {RightReplace, "", fmt.Sprintf(`{"card":"%s","amount":5000}`, cardA)},
	"POST /api/v1/transactions/{id}/ask":              {anyStaff, "/api/v1/transactions/310100001234-1-10/ask", `{}`},
	"POST /api/v1/wishes":                             {onSocket, "", `{"key":"0123456789abcdef0123456789abcdef"}`},
	"GET /api/v1/stock":                               {RightSettle, "", ""},
	"POST /api/v1/stock/receipts":                     {RightSettle, "", fmt.Sprintf(`{"from":"%s","to":"%s"}`, stock, stock)},
	"POST /api/v1/stock/counts":                       {RightSettle, "", `{"pack":"310100001234-1-600","found":1}`},
	"GET /api/v1/staff":                               {RightConfigure, "", ""},
	"POST /api/v1/staff":                              {RightConfigure, "", `{"staff":"31","name":"x","rights":[],"pin":"7391","again":"7391"}`},
	"POST /api/v1/staff/{id}/pin":                     {RightConfigure, "/api/v1/staff/9/pin", `{"pin":"7391","again":"7391"}`},
	"POST /api/v1/staff/{id}/lock":                    {RightConfigure, "/api/v1/staff/9/lock", `{}`},
	"POST /api/v1/staff/{id}/unlock":                  {RightConfigure, "/api/v1/staff/9/unlock", `{}`},
	"POST /api/v1/staff/{id}/remove":                  {RightConfigure, "/api/v1/staff/9/remove", `{}`},
	"POST /api/v1/staff/{id}/card":                    {RightConfigure, "/api/v1/staff/9/card", `{"card":""}`},
	"POST /api/v1/pin":                                {ownPIN, "", `{"old":"1357","pin":"7391","again":"7391"}`},
	"/api/":                                           {anybody, "/api/v1/nothing", ""},

	"GET /sim": {onDesk, "", ""}, "POST /sim/put": {onDesk, "", ""}, "POST /sim/take": {onDesk, "", ""}, "POST /sim/swap": {onDesk, "", ""},
	"POST /sim/tear": {onDesk, "", ""}, "POST /sim/link": {onDesk, "", ""}, "POST /sim/clock": {onDesk, "", ""},
	"GET /sim/paper": {onDesk, "", ""}, "POST /sim/printer": {onDesk, "", ""}, "/sim/": {onDesk, "", ""}, "GET /desk": {onDesk, "", ""},

	"GET /{$}": {anybody, "/", ""}, "GET /clerk": {anybody, "", ""}, "GET /kiosk": {anybody, "", ""}, "/": {anybody, "/nothing", ""},
	"GET /static/": {anybody, "/static/nothing", ""}, "GET /prompts/{lang}/{file}": {anybody, "/prompts/en/nothing", ""},
}

// TestEveryCallAsksWhoCalls takes every call that the server answers and makes
// it from every kind of session. A call that somebody adds fails here until it
// is said who may make it.
func TestEveryCallAsksWhoCalls(t *testing.T) {
	pins()
	known := routes(t)
	for _, pattern := range known {
		if _, ok := access[pattern]; !ok {
			t.Errorf("%s: nobody has said who may call it", pattern)
		}
	}
	for pattern := range access {
		if !slices.Contains(known, pattern) {
			t.Errorf("%s is not served any more", pattern)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		type place struct {
			f *counted
			s *Server
			b *browser
		}
		refusing := map[string]place{} // who gets nothing leaves everything as it was
		for pattern, c := range access {
			method, path, ok := strings.Cut(pattern, " ")
			if !ok {
				method, path = "GET", pattern
			}
			if c.path != "" {
				path = c.path
			}
			if path == "/api/v1/events" {
				continue // it never ends by itself; TestEvents has it
			}
			for name, call := range callers(c.who) {
				x, ready := refusing[fmt.Sprint(name, call.rights)]
				if !ready || call.may {
					x.f = &counted{fake: newFake()}
					x.f.with(func() { x.f.status.ShiftOpen = true })
					x.s = newServer(t, x.f.fake, func(cfg *Config) {
						cfg.Terminal = x.f
						cfg.Staff = []Staff{
							{ID: 7, Name: "a", PINHash: pins()[0], Rights: call.manager},
							{ID: 8, Name: "b", PINHash: pins()[1], Rights: call.rights},
							{ID: 9, Name: "c", PINHash: pins()[2]},
						}
					})
					x.f.insert(cardA)
					x.b = call.come(t, x.s)
					if !call.may {
						refusing[fmt.Sprint(name, call.rights)] = x
					}
				}
				x.f.moved.Store(0)
				w := x.b.raw(method, path, c.body, append(key(), "Dianka-Screen", call.screen)...)
				absent := c.who == onDesk || c.who == onSocket
				if refused := w.Code == 401 || w.Code == 403; absent && w.Code != 404 && w.Code != 405 || !absent && refused == call.may {
					t.Errorf("%s: %s: %d %s", pattern, name, w.Code, w.Body)
				}
				if n := x.f.moved.Load(); !call.may && n != 0 {
					t.Errorf("%s: %s: refused, and yet %d calls reached the terminal", pattern, name, n)
				}
			}
		}
	})
}

type called struct {
	may     bool
	screen  string
	rights  []string // of staff 8
	manager []string // of staff 7
	come    func(t *testing.T, s *Server) *browser
}

// callers are the sessions from which a call is made, and who of them may.
func callers(who string) map[string]called {
	clerk := func(t *testing.T, s *Server) *browser {
		b := open(t, s)
		b.cookies[clerkCookie] = opened(s.door, s.door.current(8)) // a login takes long on purpose
		return b
	}
	stranger := func(t *testing.T, s *Server) *browser { return open(t, s) }
	locked := func(t *testing.T, s *Server) *browser {
		b := clerk(t, s)
		time.Sleep(IdleLock)
		return b
	}
	left := func(t *testing.T, s *Server) *browser {
		b := clerk(t, s)
		old := b.cookies[clerkCookie]
		b.do("POST", "/api/v1/logout", `{}`)
		b.cookies[clerkCookie] = old
		return b
	}
	lockedOut := func(t *testing.T, s *Server) *browser {
		b := clerk(t, s)
		m := open(t, s)
		m.cookies[clerkCookie] = opened(s.door, s.door.current(7))
		if code, v := m.do("POST", "/api/v1/staff/8/lock", `{}`); code != 200 {
			t.Fatal(code, v)
		}
		return b
	}
	reset := func(t *testing.T, s *Server) *browser {
		list := []store.Person{{ID: 31, Name: "d", PINHash: pins()[1], Rights: Rights, Change: true}}
		s.door.admit(list)
		b := open(t, s)
		b.cookies[clerkCookie] = opened(s.door, s.door.current(31))
		return b
	}
	kiosk := func(t *testing.T, s *Server) *browser {
		b := open(t, s)
		b.raw("GET", "/kiosk", "")
		return b
	}
	but := func(right string) []string {
		return slices.DeleteFunc(slices.Clone(Rights), func(r string) bool { return r == right })
	}
	alone := but(RightVoid) // nobody else: a void wants no second person
	// The customer's screen pays with a card. What the shop's people do it may
	// not, also where they need the same right for it.
	ofKiosk := who == anybody || who == anyOne || who == pays
	list := map[string]called{
		"nobody":                        {who == anybody, "", Rights, alone, stranger},
		"a clerk with every right":      {true, "", Rights, alone, clerk},
		"a locked screen":               {who == anybody, "", Rights, alone, locked},
		"a clerk who logged out":        {who == anybody, "", Rights, alone, left},
		"a clerk who was locked out":    {who == anybody, "", Rights, Rights, lockedOut},
		"a clerk who must choose a PIN": {who == anybody || who == ownPIN, "", Rights, Rights, reset},
		"the customer's screen":         {ofKiosk, "kiosk", nil, alone, kiosk},
		"the customer's screen, lying":  {who == anybody, "clerk", nil, alone, kiosk},
	}
	if who == pays {
		who = RightRedeem
	}
	if slices.Contains(Rights, who) {
		list["a clerk without the right"] = called{false, "", but(who), alone, clerk}
		list["a clerk with this right only"] = called{true, "", []string{who}, alone, clerk}
	}
	return list
}
