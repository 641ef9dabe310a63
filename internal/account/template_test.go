package account

import (
	"testing"
	"time"

	"pennypost"
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
