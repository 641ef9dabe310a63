package mustache

// Options bounds a template. The zero value of a field means its default.
type Options struct {
	MaxSize   int // bytes of template text; 5 MiB
	MaxTags   int // tags in it, each counted once per key of its path; 50,000
	MaxDepth  int // levels below the root that blocks and paths reach; 100
	MaxSteps  int // steps of a rendering; 2,000,000
	MaxOutput int // bytes of a rendering; 10 MiB
}

func (o Options) withDefaults() Options {
	return Options{
		MaxSize:   orDefault(o.MaxSize, 5<<20),
		MaxTags:   orDefault(o.MaxTags, 50_000),
		MaxDepth:  orDefault(o.MaxDepth, 100),
		MaxSteps:  orDefault(o.MaxSteps, 2_000_000),
		MaxOutput: orDefault(o.MaxOutput, 10<<20),
	}
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}
