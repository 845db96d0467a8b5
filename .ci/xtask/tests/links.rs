//! Every link in the repository's pages leads somewhere: to a file that is there, to a heading of it, or out,
//! by https. What lies outside is not asked. rustdoc checks the links of the guide itself.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Folders without pages of the project's own.
const SKIPPED: [&str; 3] = ["target", ".git", "guide"];

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = Vec::new();
    collect(&root, &mut pages);
    assert!(pages.contains(&root.join("README.md")), "the walk begins at the root");
    let broken: Vec<String> = pages.iter().flat_map(|page| broken(page)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_leads_nowhere_is_named() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let page = folder.join("page.md");
    let text = "# A `b`, c\n[a](page.md#a-b-c) [b](page.md#b) [c](none.md) [d](http://e.org) ![f](none.png)\n";
    std::fs::write(&page, text).expect("a page");
    let broken = broken(&page);
    let named = ["page.md#b", "none.md", "http://e.org", "none.png"];
    assert_eq!(broken.len(), named.len(), "{broken:?}");
    for (line, link) in broken.iter().zip(named) {
        assert!(line.contains(link), "{line} names {link}");
    }
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("the repository can be read");
    for path in entries.map(|entry| entry.expect("an entry can be read").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !SKIPPED.contains(&name) {
            collect(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The page's links that lead nowhere, in words.
fn broken(page: &Path) -> Vec<String> {
    let text = read(page);
    let links = Parser::new_ext(&text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url),
        _ => None,
    });
    let leads_nowhere = |link: &str| {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        if link.contains("://") {
            return (!link.starts_with("https://")).then_some("is not https");
        }
        let target = match file {
            "" => page.to_owned(),
            file => page.with_file_name("").join(file),
        };
        if !target.exists() {
            return Some("is not there");
        }
        let is_missing = !heading.is_empty() && !headings(&target).contains(heading);
        is_missing.then_some("has no such heading")
    };
    let complain =
        |link: &str| Some(format!("{}: {link} {}", page.display(), leads_nowhere(link)?));
    links.filter_map(|link| complain(&link)).collect()
}

/// The headings of a page, as links name them: small letters and digits, hyphens for spaces.
fn headings(page: &Path) -> HashSet<String> {
    let text = read(page);
    let (mut found, mut heading) = (HashSet::new(), None::<String>);
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), heading) => *heading = Some(String::new()),
            (Event::Text(text) | Event::Code(text), Some(heading)) => heading.push_str(&text),
            (Event::End(TagEnd::Heading(_)), heading) => found.extend(heading.take().map(slug)),
            _ => {}
        }
    }
    found
}

fn slug(heading: String) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let slug = |c: char| if c == ' ' { '-' } else { c.to_ascii_lowercase() };
    heading.chars().filter(kept).map(slug).collect()
}
