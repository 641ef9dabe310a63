package eml

import (
	"strings"
	"testing"
)

// The extensions of contract/common.md §8, all of them, and what receivers take
// for one.
func TestForbiddenExtension(t *testing.T) {
	const forbidden = "vbs exe bin bat chm com cpl crt hlp hta inf ins isp jse lnk mdb pcd pif reg scr sct shs vbe vba wsf wsh wsl msc msi msp mst"
	for _, ext := range strings.Fields(forbidden) {
		for _, name := range []string{"a." + ext, "A." + strings.ToUpper(ext), "a.txt." + ext, "." + ext, "a." + ext + "."} {
			if !ForbiddenExtension(name) {
				t.Errorf("%s is allowed", name)
			}
		}
		if name := "a." + ext + "x"; ForbiddenExtension(name) && !strings.Contains(" "+forbidden+" ", " "+ext+"x ") {
			t.Errorf("%s is forbidden", name)
		}
	}
	for _, name := range []string{"", "exe", "a", "a.pdf", "a.exe.txt", "a.js", "a.zip", "a.docm", "msi", "a.com.pdf", "a exe"} {
		if ForbiddenExtension(name) {
			t.Errorf("%q is forbidden", name)
		}
	}
}
