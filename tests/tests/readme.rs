//! The README's commands are those that run: its first fenced blocks are the two
//! commands that newcomers and the gate execute.

use sagabox_tests::paths;

/// The contents of the fenced `sh` blocks, in order.
fn commands(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = markdown;
    while let Some((_, after)) = rest.split_once("```sh\n") {
        let (block, behind) = after.split_once("```").expect("every fence is closed");
        blocks.push(block.trim().to_owned());
        rest = behind;
    }
    blocks
}

fn read(name: &str) -> String {
    std::fs::read_to_string(paths::repository().join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_readme_begins_with_the_two_commands() {
    assert_eq!(commands(&read("README.md"))[..2], ["./dev demo", "./dev test"]);
}

#[test]
fn the_gate_runs_the_readmes_command() {
    let gate = read(".ci/run");
    assert!(gate.lines().any(|line| line.trim() == "./dev test"), "{gate}");
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for name in ["README.md", "CONTRIBUTING.md"] {
        for link in read(name).split("](").skip(1).filter_map(|text| text.split(')').next()) {
            let path = link.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(paths::repository().join(path).exists(), "{name} links to {path}");
        }
    }
}
