module github.com/sagabox/sagabox/guest-sdk/go

go 1.24
