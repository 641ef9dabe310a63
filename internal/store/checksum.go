package store

import (
	"encoding/binary"
	"hash/crc32"
)

// SQLite has no checksums of its own, so what mail depends on carries one:
// CRC-32C, which the processor computes. It finds damage, not forgery.

// seal collects the fields of a row, each with its length, so that none can
// pass for another.
type seal struct{ buf []byte }

func (s *seal) num(list ...int64) *seal {
	for _, n := range list {
		s.buf = binary.AppendVarint(s.buf, n)
	}
	return s
}

func (s *seal) text(list ...string) *seal {
	for _, t := range list {
		s.buf = binary.AppendUvarint(s.buf, uint64(len(t)))
		s.buf = append(s.buf, t...)
	}
	return s
}

func (s *seal) bytes(b []byte) *seal {
	s.buf = binary.AppendUvarint(s.buf, uint64(len(b)))
	s.buf = append(s.buf, b...)
	return s
}

func (s *seal) sum() int64 { return int64(crc32.Checksum(s.buf, castagnoli())) }

// sumContent covers a content and whose it is.
func sumContent(id []byte, content []byte) int64 {
	return int64(crc32.Update(crc32.Checksum(id, castagnoli()), castagnoli(), content))
}

// castagnoli gives the table of CRC-32C, which package crc32 makes once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
