//! Reads the sources and documents, and refuses words for which the glossary (docs/dev/glossary.md)
//! has another one: in names, comments, messages and prose alike.
//!
//! A word is a part of a name, such as `told` in `is_told` and in `IsTold`, or a word of a
//! sentence. To forbid a further one, add it to [`FORBIDDEN`] with what to write instead.

use std::fs;
use std::path::Path;

use sagabox_tests::paths;

/// Words, and what to write instead of each.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["letter", "letters"], "dead letter"),
    (&["bury", "buries", "buried", "burying"], "make a dead letter"),
    (&["outlet", "outlets"], "sink, or the lanes of a sink"),
    (&["roster", "rosters"], "desired state"),
    (&["resident", "residents"], "instance cache"),
    (&["judge", "judges", "judged", "judging"], "check, decide"),
    (&["verdict", "verdicts"], "admission, result, outcome"),
    (&["workshop", "workshops"], "plugin factory"),
    (&["life", "lives"], "epoch, run of the host; exists"),
    (&["tell", "tells", "told", "teller"], "notify, answer, report, show, distinguish"),
    (&["surroundings"], "context, seams"),
    (&["agenda", "agendas"], "schedule"),
    (&["desk", "desks"], "state"),
    (&["pulse", "pulses"], "heartbeat"),
    (&["revive", "revives", "revived"], "restart"),
    (&["news"], "changes"),
    (&["fate", "fates"], "outcome"),
    (
        &["whoever", "somebody", "nobody", "anybody"],
        "the actor: the caller, the sender, an operator",
    ),
];

/// Places that may have a forbidden word: the beginning of a path, the word, and the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("docs/dev/style.md", "told", "an example of what not to write"),
    ("docs/dev/style.md", "whoever", "an example of what not to write"),
    ("BENCHMARKS.md", "resident", "resident memory, as operating systems call it"),
    ("tests/src/bench/", "resident", "resident memory, as operating systems call it"),
    ("tests/tests/bench.rs", "resident", "resident memory, as operating systems call it"),
    ("host/src/plugins/wasm/sandbox.rs", "resident", "a setting of wasmtime"),
    ("host/src/store/answers/accounts.rs", "letters", "a column of the store"),
    ("host/src/store/migrations.rs", "letters", "the name of a migration"),
    ("host/src/store/migrations/", "letters", "a column of the store"),
    ("host/src/store/recover.rs", "letters", "a column of the store"),
    ("host/src/store/tables.rs", "letters", "a column of the store"),
    ("host/src/store/migrations.rs", "letter", "the name of a migration"),
    ("host/src/store/cause.rs", "letter", "the word as text, which is not replaced in a reason"),
    ("host/src/verify/simulation/world.rs", "life", "the name of a choice: a seed follows from it"),
    ("tests/conformance/", "told", "a message type of the conformance suite"),
    ("tests/conformance/", "tell", "an event type of the conformance suite"),
    ("tests/hostile/", "told", "a message type of the conformance suite"),
    ("tests/tests/dead_letters.rs", "told", "a message type of a test plugin"),
    ("tests/tests/payloads.rs", "told", "a message type of a test plugin"),
    // Letters of the alphabet.
    ("guest-sdk/rust/src/raw.rs", "letters", "of the alphabet"),
    ("host/engine/src/model/manifest.rs", "letters", "of the alphabet"),
    ("host/src/cli/new/mod.rs", "letter", "of the alphabet"),
    ("host/src/plugins/wasm/optional.rs", "letter", "of the alphabet"),
    ("host/src/plugins/wasm/optional.rs", "letters", "of the alphabet"),
    ("host/src/verify/check/states.rs", "letters", "of the alphabet"),
    ("host/src/verify/types/", "letter", "of the alphabet"),
    ("host/src/verify/types/", "letters", "of the alphabet"),
    ("wit/0.1/types.wit", "letter", "of the alphabet"),
    ("wit/0.1/types.wit", "letters", "of the alphabet"),
];

/// What is read: files and folders below the repository.
const READ: &[&str] = &[
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CONFIGURATION.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "docs",
    "examples",
    "fuzz/src",
    "fuzz/fuzz_targets",
    "guest-sdk/rust",
    "host",
    "plugins",
    "tests",
    "wit",
];

const EXTENSIONS: &[&str] = &["rs", "md", "html", "sql", "wit"];

/// What builds and package managers write.
const LEFT_OUT: &[&str] = &["target", "node_modules"];

/// This file, which has all of the words.
const OWN: &str = "tests/tests/words.rs";

#[test]
fn no_name_and_no_sentence_has_a_word_for_which_there_is_another() {
    let (mut found, mut files) = (Vec::new(), 0);
    for place in READ {
        read(place, &mut |name, text| {
            files += 1;
            found.extend(forbidden(text).into_iter().filter_map(|(line, word)| {
                let (_, instead) = FORBIDDEN.iter().find(|(words, _)| words.contains(&word))?;
                let is_exception = EXCEPTIONS
                    .iter()
                    .any(|(start, except, _)| name.starts_with(start) && *except == word);
                (!is_exception).then(|| format!("{name}:{line}: `{word}`: {instead}"))
            }));
        });
    }
    assert!(files > 500, "only {files} files");
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_exception_is_still_needed() {
    for (start, word, _) in EXCEPTIONS {
        let mut is_needed = false;
        read(start.trim_end_matches('/'), &mut |_, text| {
            is_needed |= forbidden(text).iter().any(|(_, found)| found == word);
        });
        assert!(is_needed, "`{word}` is not in {start}");
    }
}

#[test]
fn a_word_is_found_in_names_and_sentences_alike() {
    let text = "fn is_told(a: ToldOf) {} // Nobody.\n/// A dead\n/// letter, and a letter.\nDEAD_LETTER\nunfold";
    let found = vec![(1, "told"), (1, "told"), (1, "nobody"), (3, "letter")];
    assert_eq!(forbidden(text), found);
}

/// Calls `each` with the path and the text of every file in a place.
fn read(place: &str, each: &mut dyn FnMut(&str, &str)) {
    let path = paths::repository().join(place);
    let name = Path::new(place).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if LEFT_OUT.contains(&name) || place == OWN {
        return;
    }
    if path.is_dir() {
        let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
        for entry in entries {
            read(&format!("{place}/{}", entry.to_str().unwrap()), each);
        }
    } else if path.extension().is_some_and(|of| EXTENSIONS.iter().any(|known| of == *known)) {
        each(place, &fs::read_to_string(&path).unwrap());
    }
}

/// The lines of a text that have a forbidden word, and which. A dead letter may be spread over
/// two lines of a comment.
fn forbidden(text: &str) -> Vec<(usize, &'static str)> {
    let (mut found, mut before) = (Vec::new(), String::new());
    for (index, line) in text.lines().enumerate() {
        for word in words(line) {
            let known =
                FORBIDDEN.iter().flat_map(|(words, _)| *words).find(|known| **known == word);
            if let Some(known) = known
                && !(before == "dead" && known.starts_with("letter"))
            {
                found.push((index + 1, *known));
            }
            before = word;
        }
    }
    found
}

/// The words of a line and the parts of its names, in lower case.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut was_lower = false;
    for character in line.chars() {
        if !character.is_ascii_alphabetic() || (was_lower && character.is_ascii_uppercase()) {
            words.push(std::mem::take(&mut word));
        }
        if character.is_ascii_alphabetic() {
            word.push(character.to_ascii_lowercase());
        }
        was_lower = character.is_ascii_lowercase();
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
