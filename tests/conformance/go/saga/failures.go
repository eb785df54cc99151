package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
)

type Log struct {
	ID string `json:"id" sagabox:"key"`
}

func logs(ctx context.Context, event Log) error {
	sagabox.Log(ctx, sagabox.LevelTrace, "trace %s", event.ID)
	sagabox.Log(ctx, sagabox.LevelDebug, "debug %s", event.ID)
	sagabox.Log(ctx, sagabox.LevelInfo, "info %s", event.ID)
	sagabox.Log(ctx, sagabox.LevelWarn, "warn %s", event.ID)
	sagabox.Log(ctx, sagabox.LevelError, "error %s", event.ID)
	fmt.Println("printed", event.ID)
	return nil
}

type Fail struct {
	ID  string `json:"id" sagabox:"key"`
	How string `json:"how"`
}

type Weighed struct {
	Weights []float64 `json:"weights"`
}

// Refusal is an error of the author.
type Refusal struct{ ID string }

func (r Refusal) Error() string { return "returned " + r.ID }

func fail(ctx context.Context, event Fail) error {
	switch event.How {
	case "permanent":
		return sagabox.Permanent(errors.New("refused " + event.ID))
	case "transient":
		if sagabox.Attempt(ctx) == 1 {
			return sagabox.Transient(errors.New("later " + event.ID))
		}
		return sagabox.Send(ctx, Numbered{int64(sagabox.Attempt(ctx))})
	case "returned":
		return Refusal{event.ID}
	case "thrown":
		log.Println("before", event.ID)
		throw(event.ID)
	case "after":
		if err := sagabox.Send(ctx, Numbered{1}); err != nil {
			return err
		}
		return fmt.Errorf("after %s", event.ID)
	case "nan":
		return sagabox.Send(ctx, Weighed{[]float64{1, math.NaN()}})
	}
	return nil
}

func throw(id string) { panic("thrown " + id) }
