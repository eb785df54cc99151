//! The files of new projects, by language and role. Scenarios and simulations are the same in all
//! languages, because the plugins are.

use super::{ProjectLanguage, ProjectRole};

/// A file of all projects of a language.
macro_rules! common {
    ($language:literal, $name:literal) => {
        include_str!(concat!("../../../templates/", $language, "/", $name, ".txt"))
    };
}

/// A file of the projects of a role: in the folder of the language, or of all of them.
macro_rules! of_role {
    ($role:expr, $folder:literal, $name:literal) => {
        match $role {
            ProjectRole::Saga => {
                include_str!(concat!("../../../templates/", $folder, "saga/", $name, ".txt"))
            }
            ProjectRole::ProcessManager => {
                include_str!(concat!(
                    "../../../templates/",
                    $folder,
                    "process-manager/",
                    $name,
                    ".txt"
                ))
            }
            ProjectRole::Reactor => {
                include_str!(concat!("../../../templates/", $folder, "reactor/", $name, ".txt"))
            }
            ProjectRole::Enricher => {
                include_str!(concat!("../../../templates/", $folder, "enricher/", $name, ".txt"))
            }
        }
    };
}

/// Path and text of each file; both contain places that `new` fills.
pub(super) fn files(
    language: ProjectLanguage,
    role: ProjectRole,
) -> Vec<(&'static str, &'static str)> {
    let mut files = match language {
        ProjectLanguage::Rust => vec![
            ("Cargo.toml", common!("rust", "Cargo.toml")),
            ("README.md", common!("rust", "README.md")),
            (".gitignore", "target\n"),
            ("src/lib.rs", of_role!(role, "rust/", "lib.rs")),
            ("tests/handlers.rs", of_role!(role, "rust/", "handlers.rs")),
        ],
        ProjectLanguage::Python => vec![
            ("pyproject.toml", common!("python", "pyproject.toml")),
            ("README.md", common!("python", "README.md")),
            (".gitignore", common!("python", "gitignore")),
            ("{crate}.py", of_role!(role, "python/", "plugin.py")),
            ("tests/test_{crate}.py", of_role!(role, "python/", "test_plugin.py")),
        ],
        ProjectLanguage::Go => vec![
            ("go.mod", common!("go", "go.mod")),
            ("README.md", common!("go", "README.md")),
            (".gitignore", "target\n"),
            ("main.go", of_role!(role, "go/", "main.go")),
            ("main_test.go", of_role!(role, "go/", "main_test.go")),
        ],
        ProjectLanguage::TypeScript => vec![
            ("package.json", common!("typescript", "package.json")),
            ("tsconfig.json", common!("typescript", "tsconfig.json")),
            ("README.md", common!("typescript", "README.md")),
            (".gitignore", common!("typescript", "gitignore")),
            ("src/index.ts", of_role!(role, "typescript/", "index.ts")),
            ("test/handlers.test.ts", of_role!(role, "typescript/", "handlers.test.ts")),
        ],
        ProjectLanguage::C | ProjectLanguage::Cpp => vec![
            ("Makefile", common!("c", "Makefile")),
            ("README.md", common!("c", "README.md")),
            (".gitignore", "target\n*.wasm\n"),
            ("src/{crate}.{c}", of_role!(role, "c/", "plugin.c")),
            ("tests/handlers.{c}", of_role!(role, "c/", "handlers.c")),
        ],
    };
    files.push(("scenarios/orders.yaml", of_role!(role, "", "scenarios.yaml")));
    files.push(("simulations/orders.yaml", of_role!(role, "", "simulations.yaml")));
    files
}

/// What the plugin of a template does: one line for people.
pub(super) fn description(role: ProjectRole) -> &'static str {
    match role {
        ProjectRole::Saga => {
            "Requests the payment of orders, and cancels orders whose payment fails"
        }
        ProjectRole::ProcessManager => "Ships orders that are paid in time, and cancels the others",
        ProjectRole::Reactor => {
            "Ships paid orders that are in stock, and reports those that are not"
        }
        ProjectRole::Enricher => "Publishes a confirmed cart with all its items",
    }
}
