// Go's net/http and encoding/json: a goroutine per stream, lines taken from the reader's own buffer.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// The fields are those of job.py.
var job = struct {
	Base    string
	Streams int
	Rounds  int
	Stamped bool
	Hold    bool
	Ca      *string
	HTTP    string
	Model   string
	Timed   bool
	Fresh   bool
	Prompts *string
}{Rounds: 1}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type request struct {
	Model         string    `json:"model"`
	Messages      []message `json:"messages"`
	Stream        bool      `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

type event struct {
	Choices []struct {
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
	} `json:"choices"`
}

var (
	client                         http.Client
	prompts                        []string
	requests, tokens, ended, begun atomic.Int64
	reads                          atomic.Int64
	allBegun                       = make(chan struct{})
	results                        sync.Mutex // guards what follows
	said                           *string
	delays, firstMs, requestCPU    []float64
	firstAt, lastAt                int64
)

// Reads are counted here, for Go makes its system calls itself and no preloaded library sees them.
type counted struct{ net.Conn }

func (c counted) Read(to []byte) (int, error) {
	n, err := c.Conn.Read(to)
	if n > 0 {
		reads.Add(1)
	}
	return n, err
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func say(state string, more map[string]any) {
	more["state"] = state
	check(json.NewEncoder(os.Stdout).Encode(more))
}

func cpu() float64 {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}

var (
	start  = time.Now()
	origin = clock()
)

func clock() int64 {
	var now syscall.Timespec
	at := uintptr(unsafe.Pointer(&now))
	_, _, failed := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 1, at, 0)
	if failed != 0 {
		check(failed)
	}
	return now.Nano()
}

// The clock that the server stamps its tokens with, CLOCK_MONOTONIC.
func monotonic() int64 { return origin + time.Since(start).Nanoseconds() }

func body() []byte {
	number := requests.Add(1) - 1
	prompt := "hi"
	if len(prompts) > 0 {
		prompt = strconv.FormatInt(number, 10) + " " + prompts[number%int64(len(prompts))]
	}
	sent := request{Model: job.Model, Messages: []message{{"user", prompt}}, Stream: true}
	sent.StreamOptions.IncludeUsage = true
	made, err := json.Marshal(sent)
	check(err)
	return made
}

// Makes one request and calls `saw` with the text of each token. An answer without its end mark is
// an error.
func one(ctx context.Context, saw func(string)) error {
	target := job.Base + "/chat/completions"
	sent, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body()))
	check(err)
	sent.Header.Set("Content-Type", "application/json")
	response, err := client.Do(sent)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	done := false
	var found event
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		data, isData := bytes.CutPrefix(line, []byte("data: "))
		if !isData {
			continue
		}
		if bytes.Equal(data, []byte("[DONE]\n")) {
			done = true
			continue
		}
		clear(found.Choices) // what is left out of the next event must not keep the last one's value
		if err := json.Unmarshal(data, &found); err != nil {
			return err
		}
		if len(found.Choices) > 0 && found.Choices[0].Delta.Content != "" {
			saw(found.Choices[0].Delta.Content)
		}
	}
	if !done {
		return errors.New("the client did not see the end of an answer")
	}
	return nil
}

func worker() {
	for range job.Rounds {
		var text strings.Builder
		count, late := int64(0), []float64{}
		began, used, first, last := monotonic(), cpuIfTimed(), int64(0), int64(0)
		check(one(context.Background(), func(token string) {
			count++
			if job.Stamped {
				sent, err := strconv.ParseInt(token[2:], 10, 64)
				check(err)
				late = append(late, float64(monotonic()-sent)/1000)
				return
			}
			text.WriteString(token)
			if job.Timed {
				last = monotonic()
				if first == 0 {
					first = last
				}
			}
		}))
		ended.Add(1)
		tokens.Add(count)
		results.Lock()
		delays = append(delays, late...)
		if job.Timed {
			requestCPU = append(requestCPU, 1e6*(cpu()-used))
			firstMs = append(firstMs, float64(first-began)/1e6)
			lastAt = last
			if firstAt == 0 {
				firstAt = first
			}
		}
		if !job.Stamped && job.Model == "bench" {
			whole := text.String()
			if said == nil {
				said = &whole
			}
			if whole != *said {
				check(fmt.Errorf("%q is not what the answers before said", whole))
			}
		}
		results.Unlock()
	}
}

func cpuIfTimed() float64 {
	if job.Timed {
		return cpu()
	}
	return 0
}

func hold() {
	var open sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for range job.Streams {
		open.Go(func() {
			first := true
			one(ctx, func(string) {
				tokens.Add(1)
				if first && begun.Add(1) == int64(job.Streams) {
					close(allBegun)
				}
				first = false
			})
		})
	}
	<-allBegun
	say("held", map[string]any{})
	time.Sleep(500 * time.Millisecond)
	before := cpu()
	cancel()
	open.Wait()
	say("cancelled", map[string]any{"cpu": cpu() - before})
	time.Sleep(500 * time.Millisecond)
}

func report() {
	more := map[string]any{"tokens": tokens.Load(), "ended": ended.Load(), "latency_us": nil}
	more["reads"] = reads.Load()
	if len(delays) > 0 {
		slices.Sort(delays)
		at := func(q float64) float64 { return delays[int(q*float64(len(delays)-1))] }
		more["latency_us"] = map[string]float64{"p50": at(0.5), "p99": at(0.99), "p999": at(0.999)}
	}
	if job.Timed {
		more["first_ms"], more["request_cpu_us"] = firstMs, requestCPU
		more["span"] = float64(lastAt-firstAt) / 1e9
	}
	if said != nil {
		more["text"] = fmt.Sprintf("%x", sha256.Sum256([]byte(*said)))
	}
	say("done", more)
}

func transport() *http.Transport {
	dialer := net.Dialer{}
	made := &http.Transport{
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 1 << 20,
		DisableCompression:  true,
		ReadBufferSize:      16384,
		ForceAttemptHTTP2:   job.HTTP == "2",
		DisableKeepAlives:   job.Fresh,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			return counted{connection}, err
		},
	}
	if job.Ca != nil {
		trusted, err := os.ReadFile(*job.Ca)
		check(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(trusted)
		made.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return made
}

func main() {
	check(json.Unmarshal([]byte(os.Args[1]), &job))
	if job.Prompts != nil {
		file, err := os.ReadFile(*job.Prompts)
		check(err)
		for line := range bytes.Lines(file) {
			var prompt string
			check(json.Unmarshal(line, &prompt))
			prompts = append(prompts, prompt)
		}
	}
	client.Transport = transport()
	if job.Hold {
		hold()
	} else {
		var workers sync.WaitGroup
		for range job.Streams {
			workers.Go(worker)
		}
		workers.Wait()
	}
	report()
}
