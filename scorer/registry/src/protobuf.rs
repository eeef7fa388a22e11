//! From the text of a Protobuf schema to what its messages are.

use std::collections::HashMap;

use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind as Described, MessageDescriptor};
use records::protobuf::{FieldType, Kind, Meaning, MessageType, Messages};

/// What the schema itself is called among those that it imports.
const MAIN: &str = "the schema.proto";

/// What Confluent's schemas may import without a reference.
const CONFLUENT: [(&str, &str); 2] = [
    (
        "confluent/meta.proto",
        "syntax = \"proto3\"; package confluent; import \"google/protobuf/descriptor.proto\"; \
         message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; } \
         extend google.protobuf.FileOptions { Meta file_meta = 1088; } \
         extend google.protobuf.MessageOptions { Meta message_meta = 1088; } \
         extend google.protobuf.FieldOptions { Meta field_meta = 1088; } \
         extend google.protobuf.EnumOptions { Meta enum_meta = 1088; } \
         extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }",
    ),
    (
        "confluent/type/decimal.proto",
        "syntax = \"proto3\"; package confluent.type; \
         message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }",
    ),
];

/// What the messages of a schema are; `files` are those that it imports, by their names.
///
/// # Errors
/// What is wrong with it, in the compiler's words.
pub fn compile(text: &str, mut files: HashMap<String, String>) -> Result<Messages, String> {
    for (name, text) in CONFLUENT {
        files.entry(name.to_owned()).or_insert_with(|| text.to_owned());
    }
    files.insert(MAIN.to_owned(), text.to_owned());
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts(files));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(MAIN).map_err(|error| error.to_string())?;
    messages(&compiler.descriptor_pool()).ok_or_else(|| "its messages refer to what is not there".to_owned())
}

/// Files in memory.
struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn resolve_path(&self, path: &std::path::Path) -> Option<String> {
        path.to_str().map(str::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = self.0.get(name).ok_or_else(|| protox::Error::file_not_found(name))?;
        File::from_source(name, text)
    }
}

fn messages(pool: &DescriptorPool) -> Option<Messages> {
    let all: Vec<MessageDescriptor> = pool.all_messages().collect();
    let enums: Vec<_> = pool.all_enums().collect();
    let places: HashMap<&str, usize> = all.iter().map(MessageDescriptor::full_name).zip(0..).collect();
    let enum_places: HashMap<&str, usize> = enums.iter().map(|it| it.full_name()).zip(0..).collect();
    let kind = |field: &FieldDescriptor| {
        Some(match field.kind() {
            Described::Double => Kind::Double,
            Described::Float => Kind::Float,
            Described::Int32 => Kind::Int32,
            Described::Int64 => Kind::Int64,
            Described::Uint32 => Kind::Uint32,
            Described::Uint64 => Kind::Uint64,
            Described::Sint32 => Kind::Sint32,
            Described::Sint64 => Kind::Sint64,
            Described::Fixed32 => Kind::Fixed32,
            Described::Fixed64 => Kind::Fixed64,
            Described::Sfixed32 => Kind::Sfixed32,
            Described::Sfixed64 => Kind::Sfixed64,
            Described::Bool => Kind::Bool,
            Described::String => Kind::String,
            Described::Bytes => Kind::Bytes,
            Described::Enum(found) => Kind::Enum(*enum_places.get(found.full_name())?),
            Described::Message(_) if field.is_group() => Kind::Group,
            Described::Message(found) => Kind::Message(*places.get(found.full_name())?),
        })
    };
    let field = |field: FieldDescriptor| {
        Some(FieldType {
            number: field.number(),
            names: [field.name().to_owned(), field.json_name().to_owned()],
            kind: kind(&field)?,
            is_list: field.is_list() || field.is_map(),
            is_map: field.is_map(),
            has_presence: field.supports_presence(),
            one_of: field.containing_oneof().and_then(|of| {
                let name = of.full_name().to_owned();
                field.parent_message().oneofs().position(|known| known.full_name() == name)
            }),
        })
    };
    // Entries of maps are messages that nobody declared.
    let declared = |message: &MessageDescriptor| !message.is_map_entry();
    let place = |message: MessageDescriptor| places.get(message.full_name()).copied();
    let message = |message: &MessageDescriptor| {
        Some(MessageType {
            fields: message.fields().map(field).collect::<Option<_>>()?,
            inside: message.child_messages().filter(declared).map(place).collect::<Option<_>>()?,
            meaning: meaning(message.full_name()),
        })
    };
    let types = all.iter().map(message).collect::<Option<Vec<_>>>()?;
    let symbols = enums.iter().map(|it| it.values().map(|value| (value.number(), value.name().to_owned())).collect());
    let top = pool.get_file_by_name(MAIN)?.messages().map(place).collect::<Option<_>>()?;
    Messages::new(types, symbols.collect(), top)
}

fn meaning(name: &str) -> Option<Meaning> {
    Some(match name {
        "google.protobuf.Timestamp" => Meaning::Timestamp,
        "confluent.type.Decimal" => Meaning::Decimal,
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt64Value"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.StringValue" => Meaning::Wrapper,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str, files: &[(&str, &str)]) -> Result<Messages, String> {
        compile(text, files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn schemas_import_each_other_and_what_everybody_knows() {
        let text = "syntax = \"proto3\"; import \"shop.proto\"; import \"google/protobuf/timestamp.proto\"; \
                    import \"confluent/type/decimal.proto\"; import \"confluent/meta.proto\"; \
                    message A { map<string, B> of = 1; message B { oneof c { int32 d = 1; shop.S e = 2; } } \
                    google.protobuf.Timestamp at = 3; confluent.type.Decimal sum = 4; repeated int32 n = 5; }";
        let shop = (
            "shop.proto",
            "syntax = \"proto3\"; package shop; message S { string id = 1; enum K { X = 0; } K k = 2; }",
        );
        assert!(compiled(text, &[shop]).is_ok());
        let error = compiled(text, &[]).unwrap_err();
        assert!(error.contains("shop.proto"), "{error}");
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for text in
            ["{", "message A { int32 x = 1; int32 y = 1; }", "message A { B b = 1; }", "import \"/etc/passwd\";"]
        {
            assert!(compiled(text, &[]).is_err(), "{text}");
        }
    }
}
