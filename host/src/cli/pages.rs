//! Reads a list from a host: one page, or all pages one after another.

use std::io::Write as _;

use clap::Args;

use super::host_args::HostArgs;
use super::output::{self, Row};
use crate::api::client::Client;

const PAGE: u32 = 100;
const PAGE_MAX: i64 = 1000;

/// Which part of a list.
#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// Continue after this row: the value that the previous page printed
    #[arg(long, allow_hyphen_values = true)]
    after: Option<String>,
    /// Maximum number of rows [default: 100]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX), conflicts_with = "all")]
    limit: Option<u32>,
    /// Print all pages
    #[arg(long)]
    all: bool,
}

/// A list of a host, and the members that are shown.
pub(crate) struct List<'l> {
    pub path: &'l str,
    pub query: Vec<(&'static str, String)>,
    /// The member of the answer that has the rows.
    pub member: &'static str,
    /// Members of the rows, or of the object `fields` in them.
    pub columns: &'l [&'l str],
}

/// What a list prints for people beside its table.
pub(crate) struct Parts<F: Fn(&Row), R: Fn(&[Row])> {
    /// Before the first page, from its answer.
    pub first: F,
    /// After the table of each page, from its rows.
    pub rows: R,
}

impl Paging {
    /// Prints the list. `first` prints what comes before the first page, from its answer.
    ///
    /// # Errors
    /// If the host does not answer, or refuses.
    pub(crate) async fn print(
        &self,
        list: &List<'_>,
        host: &HostArgs,
        first: impl Fn(&Row),
    ) -> anyhow::Result<()> {
        self.print_with(list, host, None, Parts { first, rows: |_| {} }).await
    }

    /// Prints the list, with a further member in its first answer: a name and its JSON.
    ///
    /// # Errors
    /// If the host does not answer, or refuses.
    pub(crate) async fn print_with(
        &self,
        list: &List<'_>,
        host: &HostArgs,
        mut further: Option<(&str, String)>,
        parts: Parts<impl Fn(&Row), impl Fn(&[Row])>,
    ) -> anyhow::Result<()> {
        let client = host.client()?;
        let mut after = self.after.clone();
        let mut printer = Printer { list, is_first: true, rows: 0 };
        loop {
            let mut text = self.page(&client, list, after.as_deref()).await?;
            if let (Some((name, json)), Some(end)) = (further.take(), text.rfind('}')) {
                text.insert_str(end, &format!(",\"{name}\":{json}"));
            }
            let answer: Row = serde_json::from_str(&text)
                .map_err(|error| anyhow::anyhow!("the host's response is not a list: {error}"))?;
            after = answer
                .get("next")
                .map(serde_json::value::RawValue::get)
                .filter(|next| *next != "null")
                .map(|next| serde_json::from_str(next).unwrap_or_else(|_| next.to_owned()));
            match (host.json, self.all) {
                (true, false) => output::json_text(&text),
                (true, true) => printer.json(&answer, after.is_none()),
                (false, _) => {
                    if printer.is_first {
                        (parts.first)(&answer);
                    }
                    printer.table(&answer, after.is_none());
                    (parts.rows)(&answer.rows(list.member));
                }
            }
            match &after {
                Some(_) if self.all => {}
                Some(after) => {
                    if !host.json {
                        output::note(&format!(
                            "more rows exist: --all prints all rows, --after '{after}' prints the next page"
                        ));
                    }
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    async fn page(
        &self,
        client: &Client,
        list: &List<'_>,
        after: Option<&str>,
    ) -> anyhow::Result<String> {
        let limit = match (self.limit, self.all) {
            (Some(limit), _) => limit.to_string(),
            (None, true) => PAGE_MAX.to_string(),
            (None, false) => PAGE.to_string(),
        };
        let mut query: Vec<(&str, &str)> =
            list.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        query.push(("limit", &limit));
        query.extend(after.map(|after| ("after", after)));
        Ok(client.text(list.path, &query).await?)
    }
}

struct Printer<'l> {
    list: &'l List<'l>,
    is_first: bool,
    rows: usize,
}

impl Printer<'_> {
    fn table(&mut self, answer: &Row, is_last: bool) {
        let mut rows = answer.rows(self.list.member);
        rows.iter_mut().for_each(|row| row.lift_fields(self.list.columns));
        self.rows += rows.len();
        if self.rows == 0 && is_last {
            output::line(&format!("no {}", self.list.member.replace('_', " ")));
        } else if !rows.is_empty() {
            // Not every plugin has one, and an empty column says nothing.
            let is_shown =
                |name: &&str| *name != "summary" || rows.iter().any(|row| row.get(name).is_some());
            let columns: Vec<&str> = self.list.columns.iter().copied().filter(is_shown).collect();
            output::raw(&output::table(&columns, &rows));
        }
        self.is_first = false;
    }

    /// Prints all pages as one object, page by page.
    fn json(&mut self, answer: &Row, is_last: bool) {
        let mut out = std::io::stdout().lock();
        if std::mem::take(&mut self.is_first) {
            let _ = writeln!(out, "{{");
            let own = [self.list.member, "next"];
            for (name, value) in answer.members().filter(|(name, _)| !own.contains(name)) {
                let _ = writeln!(out, "\"{name}\": {},", output::json_of(value));
            }
            let _ = writeln!(out, "\"{}\": [", self.list.member);
        }
        for row in answer.items(self.list.member) {
            let comma = if self.rows == 0 { "" } else { ",\n" };
            self.rows += 1;
            let _ = write!(out, "{comma}{}", output::json_of(&row));
        }
        if is_last {
            let _ = writeln!(out, "\n],\n\"next\": null\n}}");
        }
    }
}
