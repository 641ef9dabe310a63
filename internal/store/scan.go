package store

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
)

// assign puts a value of SQLite's driver where a caller wants it.
func assign(dest any, v driver.Value) error {
	switch d := dest.(type) {
	case sql.Scanner:
		return d.Scan(v)
	case *int64:
		if n, ok := v.(int64); ok {
			*d = n
			return nil
		}
	case *int:
		if n, ok := v.(int64); ok {
			*d = int(n)
			return nil
		}
	case *string:
		if s, ok := v.(string); ok {
			*d = s
			return nil
		}
	case *[]byte:
		switch b := v.(type) {
		case nil:
			*d = nil
			return nil
		case []byte:
			*d = b
			return nil
		}
	default:
		return assignKind(dest, v)
	}
	return fmt.Errorf("column is a %T, not a %T", v, dest)
}

// assignKind does so for the named types of package pennypost.
func assignKind(dest any, v driver.Value) error {
	p := reflect.ValueOf(dest)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("cannot read a column into a %T", dest)
	}
	e := p.Elem()
	switch x := v.(type) {
	case int64:
		if e.CanInt() && !e.OverflowInt(x) {
			e.SetInt(x)
			return nil
		}
	case string:
		if e.Kind() == reflect.String {
			e.SetString(x)
			return nil
		}
	case []byte:
		if e.Kind() == reflect.Array && e.Type().Elem().Kind() == reflect.Uint8 && e.Len() == len(x) {
			reflect.Copy(e, reflect.ValueOf(x))
			return nil
		}
	}
	return fmt.Errorf("column is a %T, not a %s", v, e.Type())
}
