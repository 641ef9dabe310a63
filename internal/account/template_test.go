package account

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

func (w *world) template(t *testing.T, server pennypost.ServerID, in *TemplateInput) *pennypost.Template {
	t.Helper()
	if in.Name == nil {
		in.Name = ptr("Receipt")
	}
	if in.Subject == nil && in.Type == nil {
		in.Subject = ptr("Hello")
	}
	return must[*pennypost.Template](t)(w.CreateTemplate(t.Context(), server, in))
}

// An edit that changes nothing makes no version: whoever repeats one fills no
// disk.
func TestEditOfNothing(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, w.one, "Shop")
	w.template(t, s.ID, &TemplateInput{Name: ptr("Wrap"), Alias: ptr("wrap"), Type: ptr("Layout"), TextBody: ptr("{{{ @content }}}")})
	made := w.template(t, s.ID, &TemplateInput{Alias: ptr("receipt"), TextBody: ptr("Hello"), Layout: ptr("wrap")})
	for _, tt := range []struct {
		in   TemplateInput
		want int64
	}{
		{TemplateInput{}, 1},
		{TemplateInput{TextBody: ptr("Hello"), Name: ptr("Receipt"), Layout: ptr("Wrap"), Alias: ptr("receipt")}, 1},
		{TemplateInput{TextBody: ptr("Hello you")}, 2},
		{TemplateInput{TextBody: ptr("Hello you")}, 2},
		{TemplateInput{Layout: ptr("")}, 3},
	} {
		w.clock.add(time.Minute)
		got := must[*pennypost.Template](t)(w.EditTemplate(t.Context(), s.ID, "receipt", &tt.in))
		if got.Version != tt.want || got.ID != made.ID || got.UpdatedAt.Equal(made.UpdatedAt) != (tt.want == 1) {
			t.Errorf("edited to %+v, want version %d", got, tt.want)
		}
	}
}

// Templates that are large together keep nobody from writing for long, whether
// they are pushed or turn out to be the same.
func TestPushLarge(t *testing.T) {
	w := newWorld(t)
	from, to := w.server(t, w.one, "Staging"), w.server(t, w.one, "Live")
	const n = 20
	body := strings.Repeat("<p>Hello you, whoever you are</p>\n", (5<<20)/40)
	for i := range n {
		w.template(t, from.ID, &TemplateInput{Alias: ptr(fmt.Sprint("t", i)), HTMLBody: &body, TextBody: &body})
	}
	in := PushInput{Source: from.ID, Destination: to.ID, Perform: true}
	for _, want := range []int{n, 0} {
		done := make(chan error, 1)
		began := time.Now()
		go func() {
			list, err := w.PushTemplates(t.Context(), w.one, in)
			if len(list) != want {
				err = errors.Join(err, fmt.Errorf("%d templates were pushed, want %d", len(list), want))
			}
			done <- err
		}()
		var slowest time.Duration
		for running := true; running; {
			at := time.Now()
			if err := w.st.Update(t.Context(), func(tx *store.Tx) error { return tx.BumpAuth(t.Context()) }); err != nil {
				t.Error(err)
			}
			slowest = max(slowest, time.Since(at))
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				running = false
			case <-time.After(time.Millisecond):
			}
		}
		took := time.Since(began)
		t.Logf("%d templates pushed in %v; the slowest of other transactions took %v", want, took, slowest)
		if slowest > max(500*time.Millisecond, took/3) {
			t.Errorf("another transaction waited for %v of %v", slowest, took)
		}
	}
}

// What was compared is compared again when somebody changed it meanwhile.
func TestPushOfWhatChanged(t *testing.T) {
	for name, change := range map[string]func(w *world, from, to pennypost.ServerID) error{
		"nothing": func(*world, pennypost.ServerID, pennypost.ServerID) error { return nil },
		"source": func(w *world, from, _ pennypost.ServerID) error {
			_, err := w.EditTemplate(t.Context(), from, "edited", &TemplateInput{Subject: ptr("Newer")})
			return err
		},
		"source deleted": func(w *world, from, _ pennypost.ServerID) error {
			_, err := w.DeleteTemplate(t.Context(), from, "new")
			return err
		},
		"destination": func(w *world, _, to pennypost.ServerID) error {
			_, err := w.EditTemplate(t.Context(), to, "edited", &TemplateInput{Name: ptr("Theirs")})
			return err
		},
		"destination deleted": func(w *world, _, to pennypost.ServerID) error {
			_, err := w.DeleteTemplate(t.Context(), to, "edited")
			return err
		},
		"destination made": func(w *world, _, to pennypost.ServerID) error {
			_, err := w.CreateTemplate(t.Context(), to, &TemplateInput{Name: ptr("Own"), Alias: ptr("NEW"), Subject: ptr("s"), TextBody: ptr("t")})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			from, to := w.server(t, w.one, "Staging"), w.server(t, w.one, "Live")
			for _, alias := range []string{"edited", "new"} {
				w.template(t, from.ID, &TemplateInput{Alias: &alias, TextBody: ptr("Hello")})
			}
			w.template(t, to.ID, &TemplateInput{Alias: ptr("edited"), TextBody: ptr("Hi")})
			in := PushInput{Source: from.ID, Destination: to.ID, Perform: true}
			plan, err := w.planPush(t.Context(), w.one, in)
			if err != nil || len(plan) != 2 {
				t.Fatalf("plan is %+v, %v", plan, err)
			}
			if err := change(w, from.ID, to.ID); err != nil {
				t.Fatal(err)
			}
			done, err := w.performPush(t.Context(), w.one, in, plan)
			if name == "nothing" {
				if err != nil || len(done) != 2 {
					t.Errorf("done %+v, %v", done, err)
				}
				return
			}
			if !errors.Is(err, errPushStale) || len(done) != 0 {
				t.Errorf("done %+v, %v; want it to be compared again", done, err)
			}
			must[[]Pushed](t)(w.PushTemplates(t.Context(), w.one, in))
			list, total, err := w.Templates(t.Context(), from.ID, TemplateFilter{}, 10, 0)
			if err != nil || total == 0 {
				t.Fatal(total, err)
			}
			for i := range list {
				a, errA := w.Template(t.Context(), from.ID, list[i].Alias)
				b, errB := w.Template(t.Context(), to.ID, list[i].Alias)
				if err := errors.Join(errA, errB); err != nil || !same(a, b) {
					t.Errorf("%v: pushed %+v, want %+v", err, b, a)
				}
			}
		})
	}
}
