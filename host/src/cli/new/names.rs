//! Names that a language has taken, so that a project of that name does not build.

use super::ProjectLanguage;

/// Keywords of Rust, and crates that every crate sees.
const RUST: &str = "\
    abstract alloc as async await become box break const continue core crate do dyn else enum \
    extern false final fn for gen if impl in let loop macro match mod move mut override priv \
    proc_macro pub ref return sagabox_sdk self static std struct super test trait true try type \
    typeof unsafe unsized use virtual where while yield";

/// Keywords of Python, and its own modules: a file of that name hides one, or is hidden by it.
const PYTHON: &str = "\
    abc aifc and annotationlib antigravity argparse array as assert ast async asynchat asyncio \
    asyncore atexit audioop await base64 bdb binascii bisect break builtins bz2 calendar case cgi \
    cgitb chunk class cmath cmd code codecs codeop collections colorsys compileall compression \
    concurrent configparser contextlib contextvars continue copy copyreg crypt csv ctypes curses \
    dataclasses datetime dbm decimal def del difflib dis distutils doctest elif else email \
    encodings ensurepip enum errno except faulthandler fcntl filecmp fileinput finally fnmatch for \
    fractions from ftplib functools gc genericpath getopt getpass gettext glob global graphlib grp \
    gzip hashlib heapq hmac html http idlelib if imaplib imghdr imp import importlib in inspect io \
    ipaddress is itertools json keyword lambda lib2to3 linecache locale logging lzma mailbox \
    mailcap marshal match math mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis \
    nntplib nonlocal not nt ntpath nturl2path numbers opcode operator optparse or os ossaudiodev \
    pass pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posix posixpath \
    pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri raise \
    random re readline reprlib resource return rlcompleter runpy sagabox sched secrets select \
    selectors shelve shlex shutil signal site smtpd smtplib sndhdr socket socketserver spwd \
    sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string stringprep struct \
    subprocess sunau symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios \
    test textwrap this threading time timeit tkinter token tokenize tomllib trace traceback \
    tracemalloc try tty turtle turtledemo types typing unicodedata unittest urllib uu uuid venv \
    warnings wave weakref webbrowser while winreg winsound with wsgiref xdrlib xml xmlrpc yield \
    zipapp zipfile zipimport zlib zoneinfo";

/// Whether a project of this name would not build. The other languages use the name where nothing
/// else can have it.
pub(super) fn is_taken(name: &str, language: ProjectLanguage) -> bool {
    let words = match language {
        ProjectLanguage::Rust => RUST,
        ProjectLanguage::Python => PYTHON,
        ProjectLanguage::TypeScript
        | ProjectLanguage::Go
        | ProjectLanguage::C
        | ProjectLanguage::Cpp => return false,
    };
    let module = name.replace('-', "_");
    words.split_whitespace().any(|word| word == module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_in_its_language_alone() {
        for (name, in_rust, in_python) in [
            ("fn", true, false),
            ("core", true, false),
            ("sagabox-sdk", true, false),
            ("email", false, true),
            ("class", false, true),
            ("sagabox", false, true),
            ("match", true, true),
            ("py-compile", false, true),
            ("orders", false, false),
            ("email-2", false, false),
        ] {
            assert_eq!(is_taken(name, ProjectLanguage::Rust), in_rust, "{name}");
            assert_eq!(is_taken(name, ProjectLanguage::Python), in_python, "{name}");
            assert!(!is_taken(name, ProjectLanguage::Cpp), "{name}");
        }
    }
}
