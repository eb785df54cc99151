//! Plugins in Python: componentize-py, called by the SDK's builder.

use std::path::PathBuf;

use super::toolchain::{self, COMPONENTIZE_PY};
use super::{BuildError, Language, Work, process};

/// The virtual environment with componentize-py.
pub(super) fn tools() -> Result<PathBuf, BuildError> {
    let name = COMPONENTIZE_PY.replace("==", "-");
    toolchain::python(Language::Python, &name, &[COMPONENTIZE_PY])
}

pub(super) fn build(work: &Work<'_>) -> Result<(), BuildError> {
    let folder = &work.project.folder;
    let mut builder = process::clean(tools()?.join("bin/python"));
    builder
        .args(["-m", "sagabox.build"])
        .arg(folder)
        .arg("--out")
        .arg(&work.module)
        .arg("--work")
        .arg(&work.folder)
        .env("PYTHONPATH", &work.sdk)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    process::build(builder, "the builder", folder)
}
