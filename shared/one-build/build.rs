//! Procedural macros are built with the features that build scripts ask for: without a build script there is nobody to ask.

fn main() {}
