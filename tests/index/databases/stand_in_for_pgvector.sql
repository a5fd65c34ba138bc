-- What the exported SQL uses of pgvector, where that is not installed: a type of text, its operators by plain SQL, and an
-- access method called hnsw that is a hash index. It shows that the file loads and whose neighbours it finds, not pgvector's speed.
CREATE TYPE vector;
CREATE FUNCTION vector_in(cstring) RETURNS vector LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION vector_out(vector) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'varchartypmodin';
CREATE FUNCTION vector_typmod_out(integer) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'varchartypmodout';
CREATE TYPE vector (INPUT = vector_in, OUTPUT = vector_out, TYPMOD_IN = vector_typmod_in,
                    TYPMOD_OUT = vector_typmod_out, INTERNALLENGTH = VARIABLE, STORAGE = extended);
CREATE FUNCTION numbers(vector) RETURNS float8[] LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT translate(vector_out($1)::text, '[]', '{}')::float8[] $$;
CREATE FUNCTION inner_product(float8[], float8[]) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT sum(x * y) FROM unnest($1, $2) AS pairs(x, y) $$;
CREATE FUNCTION l2(vector, vector) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT sqrt(sum((x - y) ^ 2)) FROM unnest(numbers($1), numbers($2)) AS pairs(x, y) $$;
CREATE FUNCTION cosine(vector, vector) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT 1 - inner_product(a, b) / sqrt(inner_product(a, a) * inner_product(b, b))
     FROM (SELECT numbers($1) AS a, numbers($2) AS b) AS both_of $$;
CREATE OPERATOR <-> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = l2);
CREATE OPERATOR <=> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine);
CREATE FUNCTION vector_hash(vector) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'hashvarlena';
CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hashhandler;
CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING hnsw AS FUNCTION 1 vector_hash(vector);
CREATE OPERATOR CLASS vector_l2_ops FOR TYPE vector USING hnsw AS FUNCTION 1 vector_hash(vector);
