// Package abi is the border between a plugin and the host: it reads the arguments of the host's
// calls from the memory of the plugin, and writes their results there. It is written by hand,
// because it is smaller than generated bindings, and copies nothing: the texts of an event are
// where the host has written them.
package abi
