//! What the fuzz targets begin with. They run at night, in a workspace of their own: a change of the
//! plugin interface that they have not followed is noticed here.

use sagabox_tests::command::sagabox;
use tempfile::TempDir;

#[expect(unreachable_pub, reason = "it is part of the library of the fuzz targets")]
#[path = "../../fuzz/src/guest.rs"]
mod guest;

#[test]
fn the_plugins_of_the_fuzz_targets_serve() {
    let folder = TempDir::new().expect("a folder");
    for (role, (name, _)) in guest::ROLES.iter().enumerate() {
        for plugin in [guest::echo(role), guest::core_echo(role)] {
            std::fs::write(folder.path().join("f.wasm"), plugin).expect("a file");
            let checked = sagabox(folder.path(), &["check", "f.wasm"]).with(0);
            let _ = checked.saying(&format!("f 1.0.0 ({name}) from f.wasm"));
        }
    }
}

#[test]
fn a_plugin_whose_manifest_is_anything_is_one_with_the_interface_of_its_role() {
    let folder = TempDir::new().expect("a folder");
    for role in 0..guest::ROLES.len() {
        let plugin = guest::described(role, &[]);
        std::fs::write(folder.path().join("f.wasm"), plugin).expect("a file");
        // Zeros are a manifest without a name.
        let checked = sagabox(folder.path(), &["check", "f.wasm"]).with(1);
        let _ = checked.saying("name");
        let mut module = guest::shape(role);
        guest::embed(&mut module, role);
        std::fs::write(folder.path().join("f.wasm"), module).expect("a file");
        let _ = sagabox(folder.path(), &["check", "f.wasm"]).with(1).saying("unreachable");
    }
}
