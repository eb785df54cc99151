//! The documentation of the Rust SDK alone is enough to write a plugin: what the plugins, the
//! examples and the templates use of the SDK stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sagabox_tests::paths;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, MetaList, Token, Type, UseTree};

const SDK: &str = "guest-sdk/rust";
/// The SDK's attributes. The other attributes of a plugin belong to Rust and serde.
const ATTRIBUTES: [&str; 14] = [
    "command",
    "config",
    "data",
    "enricher",
    "event",
    "on",
    "on_cancel",
    "on_timer",
    "on_undeliverable",
    "one_of",
    "process_manager",
    "reactor",
    "saga",
    "timer",
];
/// Values of options that are words of the SDK.
const WORDS: [&str; 3] = ["subject", "ignore", "fail"];
/// Where plugins are written with the SDK as an author writes them.
const USERS: [&str; 4] = ["plugins", "examples", "host/templates/rust", "tests/conformance/rust"];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !["target", "node_modules", "build"].contains(&name) {
            files(&path, found);
        } else if name.trim_end_matches(".txt").rsplit_once('.').is_some_and(|(_, end)| end == "rs")
        {
            found.push(path);
        }
    }
}

fn parsed(folder: &str) -> Vec<(PathBuf, syn::File)> {
    let mut found = Vec::new();
    files(&paths::repository().join(folder), &mut found);
    let parse = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file");
        // The places that `sagabox new` fills.
        let text = text.replace("{Type}", "Filled").replace("{crate}", "filled");
        let file = syn::parse_file(&text);
        (path.clone(), file.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    found.into_iter().map(parse).collect()
}

/// The text of a `///` or `//!` line.
fn documentation(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let Expr::Lit(literal) = &pair.value else { return None };
    match &literal.lit {
        Lit::Str(text) if pair.path.is_ident("doc") => Some(text.value()),
        _ => None,
    }
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("doc") && list.tokens.to_string() == "hidden",
        _ => false,
    })
}

/// What the SDK documents.
#[derive(Default)]
struct Documented {
    text: String,
    /// The methods of `Ctx`.
    methods: BTreeSet<String>,
    /// The modules that the documentation leaves out.
    hidden: BTreeSet<String>,
}

impl Documented {
    fn read() -> Self {
        let mut documented = Self::default();
        for folder in ["src", "macros/src"] {
            for (_, file) in parsed(&format!("{SDK}/{folder}")) {
                documented.visit_file(&file);
            }
        }
        documented
    }

    /// Whether an option stands in an example, or between backticks.
    fn has_option(&self, option: &str) -> bool {
        let is_word = |text: &str| {
            text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == option)
        };
        self.text.lines().any(|line| {
            let is_code = line.trim_start().starts_with("#[");
            let quoted = line.split('`').skip(1).step_by(2);
            (is_code && is_word(line)) || quoted.into_iter().any(is_word)
        })
    }
}

impl<'s> Visit<'s> for Documented {
    fn visit_attribute(&mut self, attribute: &'s Attribute) {
        if let Some(line) = documentation(attribute) {
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    fn visit_item(&mut self, item: &'s Item) {
        match item {
            Item::Mod(module) if is_hidden(&module.attrs) => {
                self.hidden.insert(module.ident.to_string());
            }
            Item::Impl(block) => {
                let is_context = matches!(&*block.self_ty, Type::Path(path)
                    if path.path.segments.last().is_some_and(|last| last.ident == "Ctx"));
                let methods = block.items.iter().filter_map(|item| match item {
                    ImplItem::Fn(method) => Some(method),
                    _ => None,
                });
                for method in methods.filter(|_| is_context) {
                    let is_documented = method.attrs.iter().any(|a| documentation(a).is_some());
                    if is_documented && !is_hidden(&method.attrs) {
                        self.methods.insert(method.sig.ident.to_string());
                    }
                }
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }
}

/// What authors use.
#[derive(Default)]
struct Used {
    /// Attribute and option.
    options: BTreeSet<(String, String)>,
    methods: BTreeSet<String>,
    modules: BTreeSet<String>,
}

/// The options of an attribute: the names at its top, and those of a value such as `hold("1h")`.
fn options(list: &MetaList) -> Vec<String> {
    let all = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let mut found = Vec::new();
    for option in all.unwrap_or_else(|error| panic!("{}: {error}", list.tokens)) {
        found.extend(option.path().get_ident().map(ToString::to_string));
        let Meta::NameValue(pair) = option else { continue };
        let value = match &pair.value {
            Expr::Call(call) => &*call.func,
            value => value,
        };
        // Of the values without arguments, these are words of the SDK; others are the author's.
        if let Expr::Path(path) = value
            && let Some(word) = path.path.get_ident().map(ToString::to_string)
            && (matches!(pair.value, Expr::Call(_)) || WORDS.contains(&&*word))
        {
            found.push(word);
        }
    }
    found
}

impl<'s> Visit<'s> for Used {
    fn visit_attribute(&mut self, attribute: &'s Attribute) {
        let Some(name) = attribute.path().get_ident().map(ToString::to_string) else { return };
        if let (true, Meta::List(list)) = (ATTRIBUTES.contains(&&*name), &attribute.meta) {
            self.options.extend(options(list).into_iter().map(|option| (name.clone(), option)));
        }
    }

    fn visit_expr_method_call(&mut self, call: &'s syn::ExprMethodCall) {
        if let Expr::Path(receiver) = &*call.receiver
            && receiver.path.is_ident("ctx")
        {
            self.methods.insert(call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_use(&mut self, import: &'s syn::ItemUse) {
        if let UseTree::Path(first) = &import.tree
            && first.ident == "sagabox_sdk"
            && let UseTree::Path(module) = &*first.tree
        {
            self.modules.insert(module.ident.to_string());
        }
    }
}

#[test]
fn the_sdk_documents_what_plugins_examples_and_templates_use() {
    let documented = Documented::read();
    let mut undocumented: BTreeMap<String, String> = BTreeMap::new();
    let (mut options, mut methods) = (BTreeSet::new(), BTreeSet::new());
    for (path, file) in USERS.iter().flat_map(|folder| parsed(folder)) {
        let mut used = Used::default();
        used.visit_file(&file);
        let attributes = used.options.iter().map(|(attribute, _)| attribute);
        let names = used.options.iter().map(|(_, option)| option).chain(attributes);
        let of_options = names.filter(|name| !documented.has_option(name)).cloned();
        let of_methods = used.methods.iter().filter(|name| !documented.methods.contains(*name));
        let of_modules = used.modules.iter().filter(|name| documented.hidden.contains(*name));
        for name in of_options.chain(of_methods.cloned()).chain(of_modules.cloned()) {
            undocumented.insert(name, path.display().to_string());
        }
        options.extend(used.options);
        methods.extend(used.methods);
    }
    assert!(undocumented.is_empty(), "not in the documentation of the SDK: {undocumented:#?}");
    // The test sees what is there.
    let option = |attribute: &str, option: &str| (attribute.to_owned(), option.to_owned());
    for known in [option("on", "absent"), option("on", "hold"), option("process_manager", "state")]
    {
        assert!(options.contains(&known), "{known:?} is not in {options:?}");
    }
    for known in ["send", "set_timer", "claim", "complete", "lookup"] {
        assert!(methods.contains(known), "{known} is not in {methods:?}");
    }
    assert!(!documented.has_option("sennds") && documented.hidden.contains("raw"));
}
