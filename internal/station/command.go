package station

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
)

// CheckName is the command by which a program looks at a terminal's file in a
// process that the file may kill.
const CheckName = "check-file"

// NewCheckCommand makes the command CheckName.
func NewCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:    CheckName + " FILE",
		Short:  "Look at a terminal's file, as is done before it is opened",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := Here(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("%w: %w", cli.ErrDamaged, err)
			}
			return nil
		},
	}
}

// Self has another run of this program look, which has the command CheckName.
func Self() Check {
	self, err := os.Executable()
	if err != nil {
		return Here
	}
	return InChild(self, CheckName)
}
