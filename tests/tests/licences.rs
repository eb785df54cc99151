//! Every dependency may be used under a licence that we accept, and so may every file of another
//! project that is kept in the repository.

use std::collections::BTreeSet;
use std::process::Command;

use sagabox_tests::{paths, vendored};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use spdx::{Expression, LicenseReq};

/// Licences that ask for no more than to be named. `MPL-2.0` binds only changes of its own files.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn accepted(requirement: &LicenseReq) -> bool {
    // An exception (`Apache-2.0 WITH LLVM-exception`) only ever permits more.
    requirement.license.id().is_some_and(|id| ACCEPTED.contains(&id.name))
}

/// What is wrong with a package, if anything is.
fn fault(package: &Value) -> Option<String> {
    let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
    let Some(licence) = package["license"].as_str() else {
        return Some(format!("{name} states no SPDX licence"));
    };
    // `MIT/Apache-2.0` is how crates wrote `OR` before SPDX.
    match Expression::parse(&licence.replace('/', " OR ")) {
        Err(error) => Some(format!("{name}: `{licence}` is no SPDX expression: {}", error.reason)),
        Ok(expression) if expression.evaluate(accepted) => None,
        Ok(_) => Some(format!("{name}: `{licence}` is not among the accepted licences")),
    }
}

#[test]
fn every_dependency_has_a_licence_that_we_accept() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .current_dir(paths::repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 100, "the metadata lists only {} packages", packages.len());
    let faults: Vec<String> = packages.iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A file that was edited, or copied from elsewhere, is not the one whose licence and version the
/// list states.
#[test]
fn every_vendored_file_is_as_published_and_under_a_licence_that_we_accept() {
    let folder = vendored::folder(paths::repository());
    let mut listed = BTreeSet::from([vendored::LIST.to_owned()]);
    for file in vendored::list(paths::repository()).expect("the list of vendored files") {
        let name = &file.name;
        let bytes = std::fs::read(folder.join(name)).expect("a vendored file");
        let digest: String =
            Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, file.sha256, "{name} is not the published file");
        let licence = Expression::parse(&file.licence).expect("an SPDX expression");
        assert!(
            licence.evaluate(accepted),
            "{name}: `{licence}` is not among the accepted licences"
        );
        let text = std::fs::read_to_string(folder.join(&file.licence_text));
        assert!(!text.expect("the text of its licence").trim().is_empty(), "{name}");
        listed.extend([file.name, file.licence_text]);
    }
    let found = std::fs::read_dir(&folder).expect("the folder of vendored files");
    let found = found.map(|entry| entry.expect("a file").file_name().into_string().expect("text"));
    assert_eq!(
        found.collect::<BTreeSet<_>>(),
        listed,
        "files that are not in the list, or missing"
    );
}
