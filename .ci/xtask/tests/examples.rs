//! Every function that a user calls has an example in its documentation, which `cargo test --doc` runs. A
//! function counts as one that a user calls where it is `pub` in the files below: what is `pub` and cannot be
//! reached is refused by the lint `unreachable_pub`.

#![forbid(unsafe_code)]

use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Files, and folders with all their files.
const FOR_USERS: &[&str] = &[
    "scheduler/src",
    "kernels/src/lang.rs",
    "kernels/src/shader/mod.rs",
    "kernels/src/front/mod.rs",
    "kernels/src/front/source.rs",
    "kernels/src/interp.rs",
    "kernels/src/library/mod.rs",
    "kernels/wasm/src",
    "shaders/src/device.rs",
    "shaders/src/legality.rs",
    "ml/src/baseline.rs",
    "ml/src/correction.rs",
    "ml/src/dataset.rs",
    "ml/src/encoder.rs",
    "ml/src/ensemble.rs",
    "ml/src/eval.rs",
    "ml/src/features.rs",
    "ml/src/gate.rs",
    "ml/src/learner.rs",
    "ml/src/linear.rs",
    "ml/src/network.rs",
    "ml/src/optimise.rs",
    "ml/src/prediction.rs",
    "ml/src/replay.rs",
    "ml/src/ridge.rs",
    "ml/src/train.rs",
    "ml/src/train",
    "ml/src/weights.rs",
];

/// Functions that need no example, and why: file, name, reason.
const WITHOUT: &[(&str, &str, &str)] = &[
    ("shaders/src/device.rs", "of_kernel", "makes an error for a back end"),
    ("shaders/src/device.rs", "stream", "is for claims, which the scheduler makes"),
    ("shaders/src/device.rs", "trust", "is for calls under way, which the scheduler has"),
    ("shaders/src/device.rs", "drain", "is for the end of a device, which the scheduler sees to"),
];

/// Functions that are for another trainer of the same network alone: file, names.
const FOR_TRAINERS: &[(&str, &[&str])] = &[
    ("ml/src/weights.rs", &["tensors", "set_tensors"]),
    (
        "ml/src/train.rs",
        &[
            "new",
            "bootstrap",
            "prioritise",
            "rows",
            "initial_network",
            "sampler",
            "finish",
            "held_out_nll",
            "loss_and_gradient",
        ],
    ),
    ("ml/src/train/sampler.rs", &["new", "draw", "gather"]),
];

#[test]
fn whatever_a_user_calls_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    FOR_USERS.iter().for_each(|name| collect(&root, name, &mut files));
    let mut excuses: Vec<(&str, &str)> =
        WITHOUT.iter().map(|(file, name, _)| (*file, *name)).collect();
    for (file, names) in FOR_TRAINERS {
        excuses.extend(names.iter().map(|name| (*file, *name)));
    }
    let (mut lacking, mut count) = (Vec::new(), 0);
    let mut needed = vec![false; excuses.len()];
    for file in &files {
        let text = std::fs::read_to_string(root.join(file)).expect("a file can be read");
        for Function { name, has_example } in functions(&text) {
            count += 1;
            match excuses.iter().position(|excuse| *excuse == (file, name.as_str())) {
                _ if has_example => {}
                Some(at) => needed[at] = true,
                None => lacking.push(format!("{file}: `{name}` has no example")),
            }
        }
    }
    assert!(count > 200, "the walk finds the functions: {count}");
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
    let idle = excuses.iter().zip(needed).filter(|(_, is_needed)| !is_needed);
    let idle: Vec<_> = idle.map(|(excuse, _)| excuse).collect();
    assert!(idle.is_empty(), "nobody asks for an example of {idle:?}");
}

#[test]
fn what_has_no_example_is_told_from_what_has() {
    let text = r#"
        /// ```
        /// shown();
        /// ```
        #[must_use]
        pub fn shown() {}

        /// ```text
        /// a drawing
        /// ```
        pub const fn drawn() {}

        macro_rules! many { () => { impl A {
            /// Nothing.
            pub fn in_macro(&self) {}
        }; } }

        impl B {
            #[doc(hidden)]
            pub fn hidden(&self) {}
            pub(crate) fn inner(&self) {}
            fn own(&self) {}
        }
    "#;
    let found: Vec<_> = functions(text).into_iter().map(|f| (f.name, f.has_example)).collect();
    let expected = [("shown", true), ("drawn", false), ("in_macro", false)];
    assert_eq!(found, expected.map(|(name, has)| (name.to_owned(), has)));
}

/// The Rust files of a folder, or the one file.
fn collect(root: &Path, name: &str, files: &mut Vec<String>) {
    let path = root.join(name);
    if !path.is_dir() {
        files.push(name.to_owned());
        return;
    }
    let entries = std::fs::read_dir(&path).expect("the repository can be read");
    for entry in entries.map(|entry| entry.expect("an entry can be read").path()) {
        let inner = entry.file_name().and_then(|name| name.to_str()).expect("a plain name");
        if entry.is_dir() || inner.ends_with(".rs") {
            collect(root, &format!("{name}/{inner}"), files);
        }
    }
}

struct Function {
    name: String,
    has_example: bool,
}

/// The public functions of a text, in macros, too.
fn functions(text: &str) -> Vec<Function> {
    let mut found = Vec::new();
    scan(text.parse().expect("a file of Rust"), &mut found);
    found
}

fn scan(tokens: TokenStream, found: &mut Vec<Function>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut docs, mut is_hidden) = (Vec::new(), false);
    let mut rest = tokens.as_slice();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (TokenTree::Punct(punct), [TokenTree::Group(attribute), behind @ ..])
                if punct.as_char() == '#' =>
            {
                rest = behind;
                let text = attribute.stream().to_string();
                is_hidden |= text.replace(' ', "") == "doc(hidden)";
                docs.extend(
                    text.strip_prefix("doc = ").map(|line| line.trim_matches('"').to_owned()),
                );
                continue;
            }
            (TokenTree::Ident(word), _) if word == "pub" => {
                if let Some(name) = function_name(behind).filter(|_| !is_hidden) {
                    found.push(Function { name, has_example: has_example(&docs) });
                }
            }
            (TokenTree::Group(group), _) if group.delimiter() != Delimiter::Parenthesis => {
                scan(group.stream(), found);
            }
            _ => {}
        }
        docs.clear();
        is_hidden = false;
    }
}

/// The name behind `fn`, if that is what is public.
fn function_name(mut behind: &[TokenTree]) -> Option<String> {
    loop {
        match behind {
            [TokenTree::Ident(word), TokenTree::Ident(name), ..] if word == "fn" => {
                return Some(name.to_string());
            }
            [TokenTree::Ident(word), rest @ ..] if word == "const" || word == "unsafe" => {
                behind = rest;
            }
            _ => return None,
        }
    }
}

/// Whether there is code that is compiled.
fn has_example(docs: &[String]) -> bool {
    let mut is_open = false;
    docs.iter().any(|line| {
        let Some(language) = line.trim().strip_prefix("```") else { return false };
        is_open = !is_open;
        is_open && (language.is_empty() || language.starts_with("compile_fail"))
    })
}
