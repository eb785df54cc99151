//! What can be read from a file before it is compiled: the names of its imports and exports, and
//! the initial sizes of its memories and tables. Reading takes milliseconds for any file; compiling
//! may take as long as the author of the file likes.
//!
//! These checks only refuse. A file that passes is checked again by its types.

use wasmparser::{Chunk, MemoryType, Parser, Payload};

const PAGE_BYTES_LOG2: u32 = 16;

/// What is known of a file without its code.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Surface {
    /// Names of the imports from the host.
    pub imports: Vec<String>,
    /// Names of the exports to the host.
    pub exports: Vec<String>,
    /// The initial size of the largest memory, of all modules in it.
    pub memory_bytes: u64,
    /// The initial size of the largest table.
    pub table_elements: u64,
    /// The number of tables in the module that has most.
    pub tables: usize,
}

/// The surface of a component or a core module. None if it is not understood: then the compiler
/// says why.
pub(crate) fn surface(mut bytes: &[u8]) -> Option<Surface> {
    let mut parser = Parser::new(0);
    // The parsers of the outer parts.
    let mut around: Vec<Parser> = Vec::new();
    let mut surface = Surface::default();
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(bytes, true).ok()? else {
            return None;
        };
        bytes = &bytes[consumed..];
        match payload {
            Payload::ModuleSection { parser: inner, .. }
            | Payload::ComponentSection { parser: inner, .. } => {
                around.push(std::mem::replace(&mut parser, inner));
            }
            Payload::CodeSectionStart { size, .. } => {
                parser.skip_section();
                bytes = bytes.get(usize::try_from(size).ok()?..)?;
            }
            Payload::End(_) => match around.pop() {
                Some(outer) => parser = outer,
                None => return Some(surface),
            },
            payload => surface.note(payload, around.is_empty())?,
        }
    }
}

impl Surface {
    /// Only the imports and exports of the outermost part are between the file and the host.
    fn note(&mut self, payload: Payload<'_>, is_outermost: bool) -> Option<()> {
        match payload {
            Payload::ComponentImportSection(imports) if is_outermost => {
                for import in imports {
                    self.imports.push(import.ok()?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if is_outermost => {
                for export in exports {
                    self.exports.push(export.ok()?.name.name.to_owned());
                }
            }
            Payload::ImportSection(imports) if is_outermost => {
                for import in imports.into_imports() {
                    self.imports.push(import.ok()?.module.to_owned());
                }
            }
            Payload::ExportSection(exports) if is_outermost => {
                for export in exports {
                    self.exports.push(export.ok()?.name.to_owned());
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memory_bytes = self.memory_bytes.max(bytes_at_start(memory.ok()?));
                }
            }
            Payload::TableSection(tables) => {
                self.tables = self.tables.max(usize::try_from(tables.count()).ok()?);
                for table in tables {
                    self.table_elements = self.table_elements.max(table.ok()?.ty.initial);
                }
            }
            _ => {}
        }
        Some(())
    }
}

fn bytes_at_start(memory: MemoryType) -> u64 {
    let page = memory.page_size_log2.unwrap_or(PAGE_BYTES_LOG2);
    memory.initial.saturating_mul(1_u64.checked_shl(page).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Surface> {
        surface(&wat::parse_str(text).unwrap())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_reaches_the_host_counts() {
        let component = of(r#"(component
                (import "a:b/c@1.0.0" (instance))
                (core module $m (import "hidden" "f" (func)) (func (export "g")))
                (component (import "d:e/f" (instance)))
                (instance $i (export "x" (instance 0)))
                (export "g:h/i@0.1.0" (instance $i)))"#);
        let (imports, exports) = (names(&["a:b/c@1.0.0"]), names(&["g:h/i@0.1.0"]));
        let expected = Surface { imports, exports, ..Surface::default() };
        assert_eq!(component, Some(expected));
        let module = of(r#"(module (import "a" "b" (func)) (func (export "c#d")) (func nop))"#);
        let (imports, exports) = (names(&["a"]), names(&["c#d"]));
        assert_eq!(module, Some(Surface { imports, exports, ..Surface::default() }));
    }

    #[test]
    fn memories_and_tables_of_all_modules_count() {
        let component = of(r"(component
                (core module (memory 3) (table 7 funcref) (table 2 funcref))
                (component (core module (memory 2) (table 9 funcref))))");
        let surface = component.unwrap();
        let found = (surface.memory_bytes, surface.table_elements, surface.tables);
        assert_eq!(found, (3 << 16, 9, 2));
    }

    #[test]
    fn what_is_not_understood_says_nothing() {
        let bytes = wat::parse_str("(module (func (export \"c\") nop))").unwrap();
        for length in 0..bytes.len() {
            let part = surface(&bytes[..length]);
            assert!(length >= 8 || part.is_none(), "{length}");
        }
        assert_eq!(surface(b"\0asm\x0d\0\x01\0\xff\xff\xff"), None);
    }
}
