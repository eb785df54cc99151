module shipping

go 1.24

require github.com/sagabox/sagabox/guest-sdk/go v0.1.0

replace github.com/sagabox/sagabox/guest-sdk/go => ../../../guest-sdk/go
