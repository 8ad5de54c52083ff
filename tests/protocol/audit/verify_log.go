// Verifies what Safelight made with the packages of the Go checksum database: a signed checkpoint
// and its proofs as they are, and a cosignature as a further kind of verifier of the same note.
// Reads JSON from standard input and prints what it accepted as JSON.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type claim struct {
	Old, New, Index int64
	Entry, Root     []byte
	Proof           [][]byte
}

type input struct {
	LogKey, WitnessName    string
	WitnessID              uint32
	WitnessPublic          []byte
	Notes                  []string
	Inclusion, Consistency []claim
}

type answer struct {
	Notes                  []string
	Inclusion, Consistency []bool
}

// cosigner verifies signatures of C2SP tlog-cosignature.
type cosigner struct {
	name   string
	id     uint32
	public ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.id }
func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 72 {
		return false
	}
	header := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig))
	return ed25519.Verify(c.public, append([]byte(header), msg...), sig[8:])
}

func hash(data []byte) (h tlog.Hash) {
	copy(h[:], data)
	return h
}

func hashes(list [][]byte) (all []tlog.Hash) {
	for _, one := range list {
		all = append(all, hash(one))
	}
	return all
}

// open says who signed a note, and the size and root in its text; or why not.
func open(text string, known note.Verifiers) string {
	opened, err := note.Open([]byte(text), known)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return err.Error()
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, one := range opened.Sigs {
		names = append(names, one.Name)
	}
	return fmt.Sprintf("%d %x %s", size, root, strings.Join(names, " "))
}

func main() {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		panic(err)
	}
	log, err := note.NewVerifier(in.LogKey)
	if err != nil {
		panic(err)
	}
	known := note.VerifierList(log, cosigner{in.WitnessName, in.WitnessID, in.WitnessPublic})
	var out answer
	for _, one := range in.Notes {
		out.Notes = append(out.Notes, open(one, known))
	}
	for _, one := range in.Inclusion {
		err := tlog.CheckRecord(hashes(one.Proof), one.New, hash(one.Root), one.Index, tlog.RecordHash(one.Entry))
		out.Inclusion = append(out.Inclusion, err == nil)
	}
	for _, one := range in.Consistency {
		err := tlog.CheckTree(hashes(one.Proof), one.New, hash(one.Root), one.Old, hash(one.Entry))
		out.Consistency = append(out.Consistency, err == nil)
	}
	json.NewEncoder(os.Stdout).Encode(out)
}
