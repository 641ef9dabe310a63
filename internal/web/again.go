package web

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// A Witness is a ResponseWriter that sees an answer before it is compressed and
// sent.
type Witness interface {
	Witness(status int, body []byte)
}

// Encode gives the body of the answer that OK makes of a value.
func Encode(v any) ([]byte, error) { return encode(v) }

// Again answers with the body of an earlier answer.
func (j *JSON) Again(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	var e ErrorBody
	if status != http.StatusOK && json.Unmarshal(body, &e) == nil {
		w.Header().Set("X-PM-ApiErrorCode", strconv.Itoa(int(e.ErrorCode)))
	}
	j.write(w, r, status, body)
}
