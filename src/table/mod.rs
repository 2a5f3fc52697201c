//! Tables: schema, codec (table to matrix and back) and metrics.
