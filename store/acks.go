package store

import (
	"bytes"

	"go.etcd.io/bbolt"
)

// AcksOf gives the sealed acknowledgements of an epoch whose Through is from
// or more, as they came, oldest first: those through to, and the next one
// after it when to itself was acknowledged with later entries. Through tells
// how far the last of them goes; 0 when there is none.
func (s *Store) AcksOf(epoch uint32, from, to uint64) (sealed [][]byte, through uint64, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketAcks).Cursor()
		prefix := ackKey(epoch, 0)[:4]
		for k, v := c.Seek(ackKey(epoch, from)); k != nil && bytes.HasPrefix(k, prefix) && through < to; k, v = c.Next() {
			b, err := openRow(bucketAcks, k, v)
			if err != nil {
				return err
			}
			r, err := getRef(k)
			if err != nil {
				return err
			}
			sealed, through = append(sealed, bytes.Clone(b)), r.Seq
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return sealed, through, nil
}
