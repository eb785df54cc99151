//go:build !wasip1

package sagabox

const isComponent = false
