// A worker in Go, with its standard library alone: claims jobs of one type, does them, and reports.
//
//	go build -o printer worker.go print.go
//	HEADWAY_KEY=hwk_... ./printer https://jobs.example.com print-invoice
//
// The other file has a function that does one job and returns the result:
//
//	func work(ctx context.Context, job *Job) (any, error) {
//		var invoice struct{ Number int }
//		if err := json.Unmarshal(job.Input, &invoice); err != nil {
//			return nil, Permanent(err)
//		}
//		err := job.Report(ctx, "progress", map[string]any{"done": 1, "total": 2})
//		...
//	}
//
// ctx is cancelled when the job should stop. A Permanent error fails the job for good, any other one the attempt.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// A Job is what the server has given to this worker, for as long as it reports.
type Job struct {
	ID           string `json:"jobId"`
	Lease        string
	LeaseSeconds float64
	Attempt      int
	Input        json.RawMessage
	Checkpoint   json.RawMessage // of an earlier attempt; null if there is none
	Uploads      []struct {
		Field, Filename, ContentType, URL string
		SizeBytes                         int64
	}
	stop context.CancelFunc
}

// A Refused request was answered, but not by success.
type Refused struct {
	Step   string
	Status int
	Body   string
}

func (refused *Refused) Error() string {
	return fmt.Sprintf("%s: %d %s", refused.Step, refused.Status, refused.Body)
}

type permanent struct{ error }

// Permanent is an error that no retry would fix.
func Permanent(err error) error { return permanent{err} }

var base string // of all requests: the server, and the type whose jobs are done

// Send makes a request of the worker, such as GET inputs/scan or PUT files/report.pdf. The caller closes the body.
func (job *Job) Send(ctx context.Context, method, step string, body io.Reader, contentType string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, base+"/"+step, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if job != nil {
		request.Header.Set("Headway-Lease", job.Lease)
	}
	if key := os.Getenv("HEADWAY_KEY"); key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode < 300 {
		return response, err
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
	return nil, &Refused{step, response.StatusCode, string(text)}
}

// Report sends progress or a checkpoint, as JSON. It tries again while the server cannot be reached or has no
// room: it may be restarting.
func (job *Job) Report(ctx context.Context, step string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	for tries, wait := 5, 500*time.Millisecond; ; tries, wait = tries-1, 2*wait {
		var response *http.Response
		response, err = job.Send(ctx, http.MethodPost, step, bytes.NewReader(body), "application/json")
		if err == nil {
			var state struct{ Cancel bool }
			err = json.NewDecoder(response.Body).Decode(&state)
			response.Body.Close()
			if state.Cancel {
				job.stop()
			}
		}
		var refused *Refused
		if err == nil || tries == 0 || ctx.Err() != nil || errors.As(err, &refused) && refused.Status < 500 {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A Line of the job's log. Level is debug, info, warning or error; info if it is empty.
type Line struct {
	Message string `json:"message"`
	Level   string `json:"level,omitempty"`
}

// Log adds lines to the job's log, in pieces that are small enough for the server.
func (job *Job) Log(ctx context.Context, lines ...Line) error {
	for len(lines) > 0 {
		size, count := len(lines[0].Message), 1
		for count < len(lines) && count < 1000 && size+len(lines[count].Message) <= 100_000 { // as JSON six times as much
			size += len(lines[count].Message)
			count++
		}
		if err := job.Report(ctx, "logs", map[string]any{"lines": lines[:count]}); err != nil {
			return err
		}
		lines = lines[count:]
	}
	return nil
}

// beat keeps the lease until ctx is done, and learns whether the job should stop.
func (job *Job) beat(ctx context.Context) {
	ticker := time.NewTicker(time.Duration(job.LeaseSeconds * float64(time.Second) / 3))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		var refused *Refused
		if err := job.Report(ctx, "progress", struct{}{}); errors.As(err, &refused) && refused.Status == http.StatusConflict {
			job.stop() // it may be another worker's already
		}
	}
}

// do works on the job. What panics has failed.
func (job *Job) do(ctx context.Context) (result any, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return work(ctx, job)
}

func (job *Job) attempt() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	job.stop = stop
	go job.beat(ctx)
	title := "The worker failed"
	result, err := job.do(ctx)
	if err == nil {
		err = job.Report(context.Background(), "complete", map[string]any{"result": result})
		var refused *Refused
		var notJSON *json.UnsupportedValueError
		if errors.As(err, &refused) && refused.Status < 500 || errors.As(err, &notJSON) { // or it is too large
			title, err = "The result was refused", Permanent(err)
		} else {
			return err
		}
	}
	var forGood permanent
	detail := fmt.Sprintf("%.4000s", err.Error())
	failure := map[string]any{"title": title, "detail": detail, "retry": !errors.As(err, &forGood)}
	return job.Report(context.Background(), "fail", failure)
}

// claim waits for a job: nil if there is none yet.
func claim() (*Job, error) {
	var none *Job
	response, err := none.Send(context.Background(), http.MethodPost, "claim?wait=30", nil, "")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	job := new(Job)
	return job, json.NewDecoder(response.Body).Decode(job)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatalf("usage: %s URL TYPE", os.Args[0])
	}
	base = strings.TrimSuffix(os.Args[1], "/") + "/work/" + os.Args[2]
	for {
		job, err := claim()
		if err != nil {
			log.Print(err)
			time.Sleep(5 * time.Second)
		} else if job != nil {
			if err := job.attempt(); err != nil {
				log.Print(err)
			}
		}
	}
}
