package sagabox

const isComponent = true
