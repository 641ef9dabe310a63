package inline

import "testing"

// With inlining on, a test rendering is a whole document
// (contract/templates.md A4).
func TestDocument(t *testing.T) {
	check(t, Options{Document: true}, []example{
		{"text", "Hi Ann_Value", "<html><head></head><body>Hi Ann_Value</body></html>"},
		{"empty", "", "<html><head></head><body></body></html>"},
		{"fragment", "<!doctype html>\n<!-- c --><p>x", "<!doctype html>\n<!-- c --><html><head></head><body><p>x</body></html>"},
		{"head elements", "<title>t</title><meta name=a>\n<b>x</b>", "<html><head><title>t</title><meta name=a>\n</head><body><b>x</b></body></html>"},
		{"styles of added tags", style("body{x:'1'}html{y:\"2\"}p{z:3}") + "<p>", `<html style="y: &quot;2&quot;;"><head></head><body style="x: '1';"><p style="z: 3;"></body></html>`},
		{"style stays", style("a:hover{x:1}") + "<a>", "<html><head><style>a:hover {x:1 !important}</style></head><body><a></body></html>"},
		{"body only", "<body class=c>x</body>", "<html><head></head><body class=c>x</body></html>"},
		{"no body", "<html><head><title>t</title></head>x</html>", "<html><head><title>t</title></head><body>x</body></html>"},
		{"no end tags", "<html><head></head><body>x", "<html><head></head><body>x</body></html>"},
		{"whole", page("", "x"), page("", "x")},
		{"frameset", "<frameset><frame></frameset>", "<frameset><frame></frameset>"},
		{"open comment", "x<!-- y", "x<!-- y"},
		{"late body", "x<body>y", "x<body>y"},
		{"late html", "<p>x<html lang=en>", "<p>x<html lang=en>"},
		{"in a foreign title", "<svg><title>x", "<svg><title>x"},
		{"open style", "x" + style("p{x:1")[:len("<style>p{x:1")], "<html><head></head><body>x</body></html>"},
		{"script first", "<script>1</script>x", "<html><head></head><body>x</body></html>"},
	})
}
